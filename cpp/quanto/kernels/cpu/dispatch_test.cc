// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/dispatch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>

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

const KernelTable* find_table(std::string_view isa) {
  for (const KernelTable* table : available_kernels()) {
    if (table->isa == isa) return table;
  }
  return nullptr;
}

struct Extension {
  std::string_view isa;
  std::string_view of;
};

/// Calls body(table, table that it extends) for those that are available.
template <size_t kCount, typename Body>
void for_each_extension(const Extension (&extensions)[kCount], Body body) {
  for (const Extension& extension : extensions) {
    const KernelTable* table = find_table(extension.isa);
    const KernelTable* base = find_table(extension.of);
    if (table == nullptr) continue;
    ASSERT_NE(base, nullptr) << extension.of;
    body(*table, *base);
  }
}

/// What is compiled for QUANTO_ELEMENTWISE_ISAS.
auto elementwise(const KernelTable& t) {
  return std::tie(t.absmax, t.min_max, t.quantize_symmetric, t.quantize_rows,
                  t.dequantize_symmetric, t.quantize_affine,
                  t.dequantize_affine, t.pack, t.unpack, t.conv);
}

/// What the build relies on where it runs the tests of these kernels for some
/// instruction sets only.
TEST(DispatchTest, ExtensionsShareElementwiseKernels) {
  constexpr Extension kExtensions[] = {{"avx_vnni", "avx2"},
                                       {"avx512_bf16", "avx512"},
                                       {"amx_bf16", "avx512"},
                                       {"neon_dotprod", "neon"},
                                       {"neon_i8mm", "neon"}};
  for_each_extension(kExtensions,
                     [](const KernelTable& table, const KernelTable& base) {
                       EXPECT_EQ(elementwise(table), elementwise(base));
                     });
}

/// The same of those that keep all of another's linear kernels, in its order,
/// behind their own.
TEST(DispatchTest, ExtensionsKeepLinearKernels) {
  constexpr Extension kExtensions[] = {{"amx_bf16", "avx512_bf16"},
                                       {"neon_i8mm", "neon_dotprod"}};
  for_each_extension(
      kExtensions, [](const KernelTable& table, const KernelTable& base) {
        ASSERT_GT(table.linear_count, base.linear_count);
        const LinearVariant* kept =
            table.linear + table.linear_count - base.linear_count;
        for (int64_t i = 0; i < base.linear_count; ++i) {
          EXPECT_EQ(kept[i].run, base.linear[i].run);
          EXPECT_EQ(kept[i].supports, base.linear[i].supports);
        }
      });
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
