// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "quanto/kernels/cpu/against_ref.h"

namespace quanto::kernels {
namespace {

/// Results to a test tensor, which is not aligned for the kernels to write.
void copy_out(const std::vector<float>& values, void* out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  std::copy_n(bytes, values.size() * sizeof(float), static_cast<uint8_t*>(out));
}

class ReduceTest : public testing::TestWithParam<DType> {
 protected:
  void expect_equal_absmax(const TestTensor& base, AxisView view) {
    expect_as_ref(DType::kFloat32, view.channels, Compare::kBits, name_of(view),
                  [&](const KernelTable& table, void* out, Executor& executor) {
                    std::vector<float> absmax(view.channels);
                    table.absmax(base.data(), GetParam(), view, absmax.data(),
                                 executor);
                    copy_out(absmax, out);
                  });
  }

  /// Minima, then maxima.
  void expect_equal_min_max(const TestTensor& base, const GroupLayout& layout) {
    expect_as_ref(DType::kFloat32, 2 * layout.rows(), Compare::kNumbers,
                  name_of(layout),
                  [&](const KernelTable& table, void* out, Executor& executor) {
                    std::vector<float> both(2 * layout.rows());
                    table.min_max(base.data(), GetParam(), layout, both.data(),
                                  both.data() + layout.rows(), executor);
                    copy_out(both, out);
                  });
  }
};

TEST_P(ReduceTest, AbsmaxEqualsRef) {
  for (const AxisView view : test_views()) {
    expect_equal_absmax(random_tensor(GetParam(), view.numel(), -5.0F, 4.0F, 1),
                        view);
    expect_equal_absmax(hard_tensor(GetParam(), view.numel(), 2), view);
    if (HasFatalFailure()) return;
  }
}

TEST_P(ReduceTest, MinMaxEqualsRef) {
  for (const GroupLayout& layout : test_layouts()) {
    // One sign only, so that a zero taken in by mistake would show.
    expect_equal_min_max(
        random_tensor(GetParam(), layout.numel(), 1.0F, 4.0F, 3), layout);
    expect_equal_min_max(
        random_tensor(GetParam(), layout.numel(), -4.0F, -1.0F, 4), layout);
    expect_equal_min_max(hard_tensor(GetParam(), layout.numel(), 5), layout);
    if (HasFatalFailure()) return;
  }
}

TEST_P(ReduceTest, OneNanAnywhereIsSeen) {
  constexpr int64_t kSize = 70;
  for (int64_t place = 0; place < kSize; ++place) {
    TestTensor base = random_tensor(GetParam(), kSize, -1.0F, 1.0F, 6);
    base.set(place, NAN);
    for (const AxisView view : {AxisView{1, 1, kSize},
                                {1, 2, kSize / 2},
                                {2, kSize / 2, 1},
                                {kSize, 1, 1}}) {
      expect_equal_absmax(base, view);
    }
    for (const bool last_axis : {false, true}) {
      expect_equal_min_max(base, {last_axis, 1, 1, kSize});
      expect_equal_min_max(base, {last_axis, kSize / 2, 1, 2});
      expect_equal_min_max(base, {last_axis, 5, 2, 7});
    }
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReduceTest, testing::ValuesIn(kActivations),
                         [](const auto& param) {
                           return std::string(quanto::name_of(param.param));
                         });

}  // namespace
}  // namespace quanto::kernels
