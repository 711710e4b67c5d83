// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/safetensors.h"

#include <gtest/gtest.h>

#include "quanto/io/test_folder.h"

namespace quanto::io {
namespace {

std::vector<TensorInfo> two_tensors() {
  return {{"bytes", find_file_type("U8"), {3}},
          {"half", find_file_type("F16"), {2}}};
}

TEST(SafetensorsTest, ReadsWhatItWrote) {
  const TestFolder folder;
  const std::string path = folder / "a.safetensors";
  auto writer =
      SafetensorsWriter::create(path, {{"format", "pt"}}, two_tensors());
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer.value().write("bytes", bytes_of("abc")).ok());
  ASSERT_TRUE(writer.value().write("half", bytes_of("1234")).ok());
  ASSERT_TRUE(writer.value().commit().ok());

  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().line();
  EXPECT_EQ(file.value().header().metadata.at("format"), "pt");
  const TensorInfo* half = file.value().find("half");
  ASSERT_NE(half, nullptr);
  const auto data = file.value().data(*half);
  EXPECT_EQ(std::memcmp(data.data(), "1234", 4), 0);
  EXPECT_EQ(data.size(), 4);
  EXPECT_EQ(file.value().find("other"), nullptr);
  file.value().file().prefetch(data);
  file.value().file().release(data);
  EXPECT_EQ(std::memcmp(data.data(), "1234", 4), 0);
}

TEST(SafetensorsTest, RefusesToWriteWhatWasNotAnnounced) {
  const TestFolder folder;
  const std::string path = folder / "a.safetensors";
  auto writer = SafetensorsWriter::create(path, {}, two_tensors());
  ASSERT_TRUE(writer.ok());
  EXPECT_FALSE(writer.value().write("other", bytes_of("abc")).ok());
  EXPECT_FALSE(writer.value().write("bytes", bytes_of("ab")).ok());
  ASSERT_TRUE(writer.value().write("bytes", bytes_of("abc")).ok());
  EXPECT_FALSE(writer.value().write("bytes", bytes_of("abc")).ok());
  const Status status = writer.value().commit();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("'half'"), std::string::npos);
}

TEST(SafetensorsTest, RefusesWhatIsNoFile) {
  const TestFolder folder;
  EXPECT_FALSE(SafetensorsFile::open(folder / "none").ok());
  EXPECT_FALSE(SafetensorsFile::open(folder.path()).ok());
  EXPECT_FALSE(SafetensorsFile::open(write_text(folder / "e", "")).ok());
  const auto missing = SafetensorsFile::open(folder / "none");
  EXPECT_NE(missing.error().line().find("/none: expected a readable file, got: "
                                        "No such file"),
            std::string::npos);
}

}  // namespace
}  // namespace quanto::io
