// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/checksums.h"

#include <gtest/gtest.h>

#include "quanto/core/checksum.h"
#include "quanto/io/test_folder.h"

namespace quanto::io {
namespace {

std::string write_file_of_two(const TestFolder& folder) {
  const std::string path = folder / "a.safetensors";
  auto writer = SafetensorsWriter::create(
      path, {{"format", "pt"}},
      {{"a", find_file_type("U8"), {3}}, {"b", find_file_type("F16"), {2}}});
  EXPECT_TRUE(writer.ok());
  EXPECT_TRUE(writer.value().write("a", bytes_of("abc")).ok());
  EXPECT_TRUE(writer.value().write("b", bytes_of("1234")).ok());
  EXPECT_TRUE(writer.value().commit().ok());
  return path;
}

Result<Covered> checked(const std::string& path) {
  QUANTO_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::open(path));
  SerialExecutor executor;
  return check_checksums(file, executor);
}

/// A file of one tensor 'a' of four bytes, with that text under the key.
Result<Covered> checked_text(const TestFolder& folder,
                             const std::string& text) {
  SafetensorsHeader header;
  header.tensors = {{"a", find_file_type("U8"), {4}}};
  header.checksums = text;
  const auto bytes = make_safetensors_header(header, "a");
  EXPECT_TRUE(bytes.ok());
  return checked(write_text(folder / "b.safetensors", bytes.value() + "abcd"));
}

TEST(ChecksumsTest, TheWriterSealsHeaderAndTensors) {
  const TestFolder folder;
  const auto covered = checked(write_file_of_two(folder));
  ASSERT_TRUE(covered.ok()) << covered.error().line();
  EXPECT_TRUE(covered.value().header);
  EXPECT_EQ(covered.value().tensors, 2);
  const auto file = SafetensorsFile::open(folder / "a.safetensors");
  EXPECT_FALSE(file.value().header().metadata.contains(kChecksumsKey));
}

// Each flip is an error, or, in the names under which checksums are found,
// makes them cover less.
TEST(ChecksumsTest, NoFlippedBitGoesUnseen) {
  const TestFolder folder;
  const std::string path = write_file_of_two(folder);
  const std::string whole = read_text(path);
  const auto data = SafetensorsFile::open(path).value().header().data_begin;
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    const auto covered = checked(write_text(path, bytes));
    if (bit / 8 >= data) {
      ASSERT_FALSE(covered.ok()) << bit;
      const char* name = bit / 8 < data + 4 ? "'b'" : "'a'";
      EXPECT_NE(covered.error().message.find(name), std::string::npos);
      EXPECT_EQ(covered.error().offset, bit / 8 < data + 4 ? data : data + 4);
    } else if (covered.ok()) {
      EXPECT_FALSE(covered.value().header && covered.value().tensors == 2)
          << bit;
    }
  }
}

TEST(ChecksumsTest, FilesMayHaveNoneOrThoseOfSomeTensors) {
  const TestFolder folder;
  const std::string right = checksum(bytes_of("abcd"));
  const auto none = checked_text(folder, "{}");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none.value().header);
  EXPECT_EQ(none.value().tensors, 0);
  const auto others = checked_text(
      folder, R"({"a":")" + right + R"(","elsewhere":")" + right + R"("})");
  ASSERT_TRUE(others.ok()) << others.error().line();
  EXPECT_EQ(others.value().tensors, 1);
}

TEST(ChecksumsTest, RefusesOtherTexts) {
  const TestFolder folder;
  for (const char* text :
       {"", "[]", "3", "{", R"({"a":3})", R"({"a":"00"})",
        R"({"a":"000000000000000G"})", R"({"a":"000000000000000A"})"}) {
    const auto covered = checked_text(folder, text);
    ASSERT_FALSE(covered.ok()) << text;
    EXPECT_NE(covered.error().line().find(kChecksumsKey), std::string::npos);
  }
}

}  // namespace
}  // namespace quanto::io
