// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "quanto/io/test_folder.h"

namespace quanto::io {
namespace {

std::string shard(std::string_view tensor) {
  return safetensors_bytes(
      fmt::format(
          R"({{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}})",
          tensor),
      1);
}

void expect_error(const Result<Checkpoint>& checkpoint, const char* message) {
  ASSERT_FALSE(checkpoint.ok());
  const std::string line = checkpoint.error().line();
  EXPECT_NE(line.find(message), std::string::npos) << line;
}

TEST(CheckpointTest, OpensAFile) {
  const TestFolder folder;
  const auto checkpoint =
      Checkpoint::open(write_text(folder / "a.safetensors", shard("t")));
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_FALSE(checkpoint.value().is_folder());
  EXPECT_NE(checkpoint.value().find("t").tensor, nullptr);
  EXPECT_EQ(checkpoint.value().find("u").tensor, nullptr);
}

TEST(CheckpointTest, OpensAFolderOfOneFile) {
  const TestFolder folder;
  write_text(folder / "diffusion_pytorch_model.safetensors", shard("t"));
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ(checkpoint.value().stem(), "diffusion_pytorch_model");
  EXPECT_FALSE(checkpoint.value().sharded());
  EXPECT_EQ(checkpoint.value().config_path(), std::nullopt);
  write_text(folder / "config.json", "{}");
  EXPECT_EQ(checkpoint.value().config_path(), folder / "config.json");
}

class ShardsTest : public testing::Test {
 protected:
  Result<Checkpoint> open(std::string_view weight_map) {
    write_text(folder_ / "model.safetensors.index.json",
               fmt::format(R"({{"weight_map":{}}})", weight_map));
    return Checkpoint::open(folder_.path());
  }
  TestFolder folder_;
};

TEST_F(ShardsTest, OpensThoseOfTheIndexThroughLinksToo) {
  write_text(folder_ / "blob", shard("t"));
  std::filesystem::create_symlink("blob", folder_ / "a.safetensors");
  write_text(folder_ / "b.safetensors", shard("u"));
  const auto checkpoint = open(R"({"u":"b.safetensors","t":"a.safetensors"})");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().line();
  EXPECT_TRUE(checkpoint.value().sharded());
  EXPECT_EQ(checkpoint.value().files().size(), 2);
  EXPECT_EQ(checkpoint.value().find("u").file, &checkpoint.value().files()[1]);
}

TEST_F(ShardsTest, RefusesAnIndexThatPointsOutside) {
  for (const char* file :
       {"../a.safetensors", "/etc/a.safetensors", "x/a.safetensors", "a.bin",
        ".safetensors", "..safetensors", "a\\\\b.safetensors", "",
        "a\\u0000/.safetensors"}) {
    const auto checkpoint = open(fmt::format(R"({{"t":"{}"}})", file));
    expect_error(checkpoint, "in the same folder for 't'");
  }
  expect_error(open(R"({"t":1})"), "in the same folder");
  expect_error(open("[]"), "expected an object weight_map");
}

TEST_F(ShardsTest, RefusesAMissingShard) {
  expect_error(open(R"({"t":"a.safetensors"})"),
               "a.safetensors: expected a readable file");
}

TEST_F(ShardsTest, RefusesAnIndexThatDiffersFromItsShards) {
  write_text(folder_ / "a.safetensors", shard("t"));
  write_text(folder_ / "b.safetensors", shard("t"));
  expect_error(open(R"({"t":"a.safetensors","u":"a.safetensors"})"),
               "expected 'u' in a.safetensors, got none");
  expect_error(open(R"({"t":"a.safetensors","u":"b.safetensors"})"),
               "expected 'u' in b.safetensors");
  write_text(folder_ / "b.safetensors",
             safetensors_bytes(
                 R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                 R"("u":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                 2));
  expect_error(open(R"({"t":"a.safetensors","u":"b.safetensors"})"),
               "expected an entry for 't', which b.safetensors holds");
}

TEST_F(ShardsTest, WritesAnIndexThatItReads) {
  const std::map<std::string, std::string> map = {{"a", "x.safetensors"},
                                                  {"b", "y.safetensors"}};
  const std::string text = index_text(map, 12);
  const auto read = parse_index(bytes_of(text), "index");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value(), map);
  EXPECT_NE(text.find("\"total_size\": 12"), std::string::npos);
}

TEST(CheckpointTest, RefusesAFolderWithoutOne) {
  const TestFolder folder;
  expect_error(Checkpoint::open(folder.path()),
               "expected model.safetensors or model.safetensors.index.json");
}

}  // namespace
}  // namespace quanto::io
