// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/patterns.h"

#include <gtest/gtest.h>

namespace quanto::cli {
namespace {

TEST(PatternsTest, MatchesAsPythonDoes) {
  EXPECT_TRUE(matches("model.layers.0.mlp", "*.mlp"));
  EXPECT_TRUE(matches("model.layers.0.mlp", "model.*"));
  EXPECT_TRUE(matches("layers.7", "layers.[0-9]"));
  EXPECT_FALSE(matches("layers.7", "layers.[!7]"));
  EXPECT_TRUE(matches("a/b", "a*b"));
  EXPECT_TRUE(matches("a\\b", "a\\b"));
  EXPECT_FALSE(matches("lm_head", "head"));
  EXPECT_FALSE(matches("LM_head", "lm_head"));
  EXPECT_TRUE(matches_any("a", {"b", "a"}));
  EXPECT_FALSE(matches_any("a", {}));
}

TEST(PatternsTest, TellsAModulesOwnNameFromItsParents) {
  EXPECT_TRUE(names_it("model.embed_tokens", "model.embed_tokens"));
  EXPECT_TRUE(names_it("model.embed_tokens", "*embed*"));
  EXPECT_TRUE(names_it("model.wte", "*.wte"));
  EXPECT_FALSE(names_it("model.embed_tokens", "*"));
  EXPECT_FALSE(names_it("model.embed_tokens", "model.*"));
  EXPECT_FALSE(names_it("model.embed_tokens", "model*"));
  EXPECT_EQ(leaf_of("a.b"), "b");
  EXPECT_EQ(leaf_of("b"), "b");
}

}  // namespace
}  // namespace quanto::cli
