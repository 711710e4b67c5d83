// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/policy.h"

#include <gtest/gtest.h>

#include "quanto/cli/failure.h"
#include "quanto/io/test_folder.h"

namespace quanto::cli {
namespace {

std::vector<Rule> read(std::string_view text) {
  const io::TestFolder folder;
  return read_policy(io::write_text(folder / "policy.json", text));
}

TEST(PolicyTest, ReadsRulesInOrder) {
  const auto rules = read(R"([
    {"match": "down_proj$", "weights": "int8"},
    {"match": "layers\\.0\\.", "weights": "qint4", "group_size": 32,
     "optimizer": "hqq"},
    {"match": "vision", "skip": true}])");
  ASSERT_EQ(rules.size(), 3);
  EXPECT_EQ(rules[0].weights, QTypeId::kQInt8);
  EXPECT_TRUE(rules[0].finds("a.down_proj"));
  EXPECT_FALSE(rules[0].finds("a.down_proj.b"));
  EXPECT_EQ(rules[1].group_size, 32);
  EXPECT_EQ(rules[1].optimizer, formats::Optimizer::kHqq);
  EXPECT_TRUE(rules[1].finds("m.layers.0.x"));
  EXPECT_FALSE(rules[1].finds("m.layers.10.x"));
  EXPECT_TRUE(rules[2].skip);
}

TEST(PolicyTest, RefusesWhatIsNoRule) {
  for (const char* text :
       {"{}", "[1]", "[{}]", R"([{"match": "("}])", R"([{"match": 1}])",
        R"([{"match": "a", "weights": "int3"}])",
        R"([{"match": "a", "weight": "int4"}])",
        R"([{"match": "a", "group_size": 0}])",
        R"([{"match": "a", "group_size": -1}])",
        R"([{"match": "a", "optimizer": "best"}])",
        R"([{"match": "a", "skip": 1}])",
        R"([{"match": "a", "skip": true, "weights": "int4"}])"}) {
    EXPECT_THROW(read(text), Failure) << text;
  }
}

}  // namespace
}  // namespace quanto::cli
