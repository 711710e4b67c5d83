// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cfloat>
#include <cmath>
#include <cstring>
#include <string>

#include "quanto/kernels/cpu/linear_case.h"

// Weights and activations at the ends of their ranges and beyond.

namespace quanto::kernels {
namespace {

constexpr int64_t kRows[] = {1, 2, 4, 13, 33};
constexpr int64_t kMostRows = 33;

InputKind float_input(DType dtype) { return {dtype, dtype, InputScale::kNone}; }

/// A code that is not finite reaches its own output, and no other.
TEST(LinearSpecialTest, InfiniteAndNanCodesReachTheirOutputOnly) {
  for (const DType storage : kStorages) {
    for (uint32_t code = 0; code < 256; ++code) {
      if (is_finite_code(storage, code)) continue;
      const QTypeId type = find_8bit_qtype(storage)->id;
      const WeightShape shape = {37, 100, 100};
      Weight weight({type, ShiftKind::kNone, false, DType::kFloat32}, shape, 1);
      weight.data.set_bits(5 * shape.k + 33, code);
      weight.data.set_bits(36 * shape.k + 99, code);
      const float special = from_bits(storage, code);
      for (const DType activation : kActivations) {
        for (const int64_t m : {1, 4, 13}) {
          Input input(float_input(activation), m, shape.k, 3);
          input.x = random_tensor(activation, m * shape.k, 0.5F, 1, 3);
          for_each_variant(
              weight.problem(m, activation), [&](const LinearVariant& variant) {
                SerialExecutor executor;
                const TestTensor output =
                    run_variant(variant, weight, input, nullptr, m, executor);
                for (int64_t i = 0; i < output.numel(); ++i) {
                  const int64_t n = i % shape.n;
                  const float value = output.at(i);
                  if (n != 5 && n != 36) {
                    ASSERT_TRUE(std::isfinite(value));
                  } else if (std::isnan(special)) {
                    ASSERT_TRUE(std::isnan(value)) << variant.name;
                  } else {
                    ASSERT_EQ(value, special) << variant.name;
                  }
                }
              });
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

/// Every variant for kRows of `input` against `exact`, whose infinities and NaN
/// it must have.
void expect_all_close(const Weight& weight, const Input& input,
                      const Expected& exact) {
  for (const int64_t m : kRows) {
    for_each_variant(
        weight.problem(m, input.kind), [&](const LinearVariant& variant) {
          const std::string what = std::string(variant.name) + " " +
                                   std::string(weight.type.name) +
                                   " m=" + std::to_string(m);
          const Expected want = expected_of(variant, exact, weight, input, m);
          SerialExecutor executor;
          const TestTensor output =
              run_variant(variant, weight, input, nullptr, m, executor);
          for (int64_t i = 0; i < output.numel(); ++i) {
            const float value = want.value.at(i);
            if (std::isfinite(value)) {
              ASSERT_NO_FATAL_FAILURE(expect_close_at(output, want, i, what));
            } else if (std::isnan(value)) {
              ASSERT_TRUE(std::isnan(output.at(i))) << what << " " << i;
            } else {
              ASSERT_EQ(output.at(i), value) << what << " " << i;
            }
          }
        });
    if (testing::Test::HasFatalFailure()) return;
  }
}

/// Weights whose groups every variant takes.
Weight weight_of(QTypeId type) {
  const bool packed = qtype(type).bits < 8;
  return {{type, packed ? ShiftKind::kFloat : ShiftKind::kNone, false,
           DType::kFloat32},
          {36, 256, packed ? 64 : 256},
          5};
}

/// Rows of x that are not finite are as the reference says, others as ever.
TEST(LinearSpecialTest, InfiniteAndNanActivationsStayInTheirRow) {
  for (const QType& type : kQTypes) {
    const Weight weight = weight_of(type.id);
    const auto [n, k, group_size] = weight.shape;
    for (const DType dtype : kActivations) {
      Input input(float_input(dtype), kMostRows, k, 7);
      input.x.set(0 * k + 17, INFINITY);
      input.x.set(3 * k + 200, NAN);
      input.x.set(9 * k + 255, -INFINITY);
      input.x.set(32 * k + 64, INFINITY);
      ASSERT_NO_FATAL_FAILURE(
          expect_all_close(weight, input, expected(weight, input, nullptr)));
    }
  }
}

/// The largest floats do not become infinite on their way to a finite result.
TEST(LinearSpecialTest, TakesTheLargestActivations) {
  Weight weight = weight_of(QTypeId::kQInt4);
  const int64_t k = weight.shape.k;
  for (int64_t i = 0; i < weight.scale.numel(); ++i) {
    weight.scale.set(i, 0.01F);
    weight.shift.set(i, 0.05F);
  }
  Input input(float_input(DType::kFloat32), kMostRows, k, 7);
  for (int64_t row = 0; row < kMostRows; ++row) {
    input.x.set(row * k + 5 * row, row % 2 == 0 ? FLT_MAX : -FLT_MAX);
  }
  const Expected want = expected(weight, input, nullptr);
  ASSERT_TRUE(std::isfinite(want.value.at(0)));
  expect_all_close(weight, input, want);
}

/// The smallest lose what their terms and products have below 2^-126.
TEST(LinearSpecialTest, TakesTheSmallestActivations) {
  for (const QType& type : kQTypes) {
    const Weight weight = weight_of(type.id);
    const auto [n, k, group_size] = weight.shape;
    Input input(float_input(DType::kFloat32), kMostRows, k, 7);
    for (int64_t i = 0; i < input.x.numel(); ++i) {
      input.x.set(i,
                  std::ldexp(input.x.at(i), -static_cast<int>(i % 40) - 100));
    }
    Expected want = expected(weight, input, nullptr);
    for (int64_t c = 0; c < n; ++c) {
      for (int64_t i = 0; i < k; ++i) {
        // 2^-125 of x, by a weight; and of a product of a code, by its scale.
        const double lost = 0x1p-125 * (weight.parts(c, i) + 1.5 / type.qmax);
        for (int64_t m = 0; m < kMostRows; ++m) {
          want.bound[m * n + c] += lost;
        }
      }
    }
    ASSERT_NO_FATAL_FAILURE(expect_all_close(weight, input, want));
  }
}

/// An element that is far above the others costs them digits in its own group
/// only; groups of zeros and beyond the range of fixed-point units are as ever.
TEST(LinearSpecialTest, OutliersCostTheirOwnGroup) {
  for (const QTypeId type : {QTypeId::kQInt2, QTypeId::kQInt4}) {
    const Weight weight = weight_of(type);
    const int64_t k = weight.shape.k;
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      Input input(float_input(dtype), kMostRows, k, 7);
      for (int64_t row = 0; row < kMostRows; ++row) {
        input.x.set(row * k + 64 + row, row % 2 == 0 ? 3000.0F : -8192.0F);
        for (int64_t i = 128; i < 192; ++i) input.x.set(row * k + i, 0.0F);
      }
      ASSERT_NO_FATAL_FAILURE(
          expect_all_close(weight, input, expected(weight, input, nullptr)));
      if (dtype == DType::kFloat16) continue;
      for (int64_t i = 192; i < k; ++i) {
        input.x.set(i, std::ldexp(input.x.at(i), -90));
        input.x.set(k + i, std::ldexp(input.x.at(k + i), 90));
      }
      ASSERT_NO_FATAL_FAILURE(
          expect_all_close(weight, input, expected(weight, input, nullptr)));
    }
  }
}

/// bfloat16 down to 2^-7 of the largest: no variant rounds any.
TEST(LinearSpecialTest, ElementsNearTheLargestAreExact) {
  for (const QTypeId type : {QTypeId::kQInt2, QTypeId::kQInt4}) {
    Weight weight = weight_of(type);
    for (int64_t i = 0; i < weight.scale.numel(); ++i) {
      weight.scale.set(i, 1.0F);
      weight.shift.set(i, 1.0F);
    }
    const int64_t k = weight.shape.k;
    Input input(float_input(DType::kBFloat16), 2, k, 7);
    for (int64_t i = 0; i < input.x.numel(); ++i) {
      const int integer = static_cast<int>(i * 37 % 255) - 127;
      input.x.set(i, static_cast<float>(integer) / 128.0F);
    }
    SerialExecutor executor;
    for (const int64_t m : {1, 2}) {
      const TestTensor want = run_variant(ref_kernels().linear[0], weight,
                                          input, nullptr, m, executor);
      for_each_variant(
          weight.problem(m, input.kind), [&](const LinearVariant& variant) {
            const TestTensor output =
                run_variant(variant, weight, input, nullptr, m, executor);
            for (int64_t i = 0; i < output.numel(); ++i) {
              ASSERT_EQ(output.at(i), want.at(i)) << variant.name << " " << i;
            }
          });
    }
  }
}

/// A copy of bytes between two pages that may not be read, right after the
/// first or right before the second.
class GuardedBytes {
 public:
  GuardedBytes(const TestTensor& from, bool at_end)
      : page_(sysconf(_SC_PAGESIZE)),
        size_(from.numel() * size_of(from.dtype())),
        room_((size_ + page_ - 1) / page_ * page_),
        pages_(static_cast<uint8_t*>(mmap(nullptr, room_ + 2 * page_,
                                          PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
        data_(pages_ + page_ + (at_end ? room_ - size_ : 0)) {
    std::memcpy(data_, from.data(), size_);
    mprotect(pages_, page_, PROT_NONE);
    mprotect(pages_ + page_ + room_, page_, PROT_NONE);
  }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  ~GuardedBytes() { munmap(pages_, room_ + 2 * page_); }

  [[nodiscard]] const void* data() const { return data_; }

 private:
  int64_t page_;
  int64_t size_;
  int64_t room_;
  uint8_t* pages_;
  uint8_t* data_;
};

/// Codes are read where they are and nowhere else: planes end inside a panel.
TEST(LinearSpecialTest, ReadsNothingBesideTheCodes) {
  for (const QType& type : kQTypes) {
    const Weight model = weight_of(type.id);
    for (const int64_t n : {3, 36, 192, 200}) {
      const Weight weight(model.kind, {n, 256, model.shape.group_size}, 5);
      for (const InputKind& kind :
           {float_input(DType::kFloat32), float_input(DType::kFloat16),
            float_input(DType::kBFloat16),
            InputKind{DType::kFloat32, DType::kInt8, InputScale::kTensor}}) {
        const DType dtype = kind.activation;
        for (const int64_t m : {1, 4, 8, 33, 97}) {
          const Input input(kind, m, 256, 7);
          for (const bool at_end : {false, true}) {
            const GuardedBytes codes(weight.data, at_end);
            for_each_variant(
                weight.problem(m, input.kind),
                [&](const LinearVariant& variant) {
                  SerialExecutor executor;
                  TestTensor output(dtype, m * n);
                  LinearArgs args = weight.args(input, nullptr, output);
                  const TestTensor want =
                      run_variant(variant, weight, input, nullptr, m, executor);
                  args.data = codes.data();
                  variant.run(weight.problem(m, input.kind), args, executor);
                  ASSERT_EQ(std::memcmp(output.data(), want.data(),
                                        output.numel() * size_of(dtype)),
                            0)
                      << variant.name;
                });
          }
        }
      }
    }
  }
}

TEST(LinearSpecialTest, EveryProblemHasAVariant) {
  const Weight weight(
      {QTypeId::kQInt4, ShiftKind::kFloat, false, DType::kFloat16}, {3, 20, 10},
      1);
  for (const int64_t m : {0, 1, 5, 1000}) {
    for (const InputKind kind :
         {float_input(DType::kFloat16),
          InputKind{DType::kFloat16, DType::kInt8, InputScale::kRow}}) {
      const LinearProblem problem = weight.problem(m, kind);
      EXPECT_TRUE(plan_linear(kernels(), problem).supports(problem));
    }
  }
}

/// int8 by int8 has no rounding but those of the scales and the bias, up to the
/// largest sums that it takes.
TEST(LinearSpecialTest, TakesTheLargestCodes) {
  constexpr int64_t kK = (int64_t{1} << 17) - 1;
  Weight weight({QTypeId::kQInt8, ShiftKind::kNone, true, DType::kFloat32},
                {3, kK, kK}, 1);
  weight.scale.set(0, 1.0F);
  weight.data.fill_bytes(0x80);
  Input input({DType::kFloat32, DType::kInt8, InputScale::kTensor}, kMostRows,
              kK, 2);
  input.x.fill_bytes(0x80);
  input.scale = {1.0F};
  Expected want = expected(weight, input, nullptr);
  expect_all_close(weight, input, want);
}

}  // namespace
}  // namespace quanto::kernels
