// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/dispatch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>

#include "quanto/kernels/ref/ref.h"

namespace quanto::kernels {
namespace {

TEST(DispatchTest, RunsTheForcedIsa) {
  const char* forced = std::getenv("QUANTO_FORCE_ISA");
  ASSERT_NE(forced, nullptr);
  EXPECT_EQ(kernels().isa, forced);
}

TEST(DispatchTest, ReadsTheVariableOnce) {
  const KernelTable* before = &kernels();
  ASSERT_EQ(setenv("QUANTO_FORCE_ISA", "none", 1), 0);
  EXPECT_EQ(&kernels(), before);
  ASSERT_EQ(setenv("QUANTO_FORCE_ISA", std::string(before->isa).c_str(), 1), 0);
}

TEST(DispatchTest, EndsWithTheReference) {
  EXPECT_EQ(available_kernels().back(), &ref_kernels());
}

TEST(DispatchTest, FindsEveryAvailableTableByItsName) {
  std::set<std::string_view> names;
  for (const KernelTable* table : available_kernels()) {
    EXPECT_EQ(&kernels_for(table->isa), table);
    EXPECT_TRUE(names.insert(table->isa).second);
  }
}

TEST(DispatchTest, NamesTheChoicesForAnUnknownIsa) {
  try {
    (void)kernels_for("sse2");
    FAIL() << "no such instruction set";
  } catch (const std::invalid_argument& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("got sse2"), std::string::npos) << message;
    for (const KernelTable* table : available_kernels()) {
      EXPECT_NE(message.find(table->isa), std::string::npos) << message;
    }
  }
}

TEST(DispatchTest, EveryTableIsCompleteAndTakesEveryProblem) {
  for (const KernelTable* table : available_kernels()) {
    EXPECT_NE(table->absmax, nullptr);
    EXPECT_NE(table->min_max, nullptr);
    EXPECT_NE(table->quantize_symmetric, nullptr);
    EXPECT_NE(table->quantize_rows, nullptr);
    EXPECT_NE(table->dequantize_symmetric, nullptr);
    EXPECT_NE(table->quantize_affine, nullptr);
    EXPECT_NE(table->dequantize_affine, nullptr);
    EXPECT_NE(table->pack, nullptr);
    EXPECT_NE(table->unpack, nullptr);
    EXPECT_NE(table->conv, nullptr);
    for (const QType& type : kQTypes) {
      const LinearProblem problem = {
          .m = 1,
          .n = 3,
          .k = 5,
          .input = DType::kFloat16,
          .input_scale = InputScale::kNone,
          .activation = DType::kFloat16,
          .weight = type.id,
          .group_size = 5,
          .per_tensor = false,
          .scale = DType::kFloat32,
          .shift = type.bits == 8 ? ShiftKind::kNone : ShiftKind::kFloat};
      const LinearVariant& variant = plan_linear(*table, problem);
      EXPECT_TRUE(variant.supports(problem)) << table->isa << type.name;
      EXPECT_NE(variant.run, nullptr);
    }
  }
}

TEST(PlanLinearTest, TakesTheFirstVariantThatSupportsTheProblem) {
  const Linear run = ref_kernels().linear[0].run;
  const LinearVariant variants[] = {
      {"one row", [](const LinearProblem& p) { return p.m == 1; }, run},
      {"few rows", [](const LinearProblem& p) { return p.m < 5; }, run},
      {"any", [](const LinearProblem&) { return true; }, run}};
  KernelTable table = ref_kernels();
  table.linear = variants;
  table.linear_count = 3;
  LinearProblem problem = {};
  problem.m = 1;
  EXPECT_EQ(plan_linear(table, problem).name, "one row");
  problem.m = 4;
  EXPECT_EQ(plan_linear(table, problem).name, "few rows");
  problem.m = 5;
  EXPECT_EQ(plan_linear(table, problem).name, "any");
}

}  // namespace
}  // namespace quanto::kernels
