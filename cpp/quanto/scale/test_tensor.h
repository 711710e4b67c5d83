// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <random>
#include <vector>

#include "quanto/scale/rounding.h"

// Float tensors of any dtype for the tests of this folder.

namespace quanto::scale {

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat16,
                             DType::kBFloat16};

class TestTensor {
 public:
  TestTensor(DType dtype, int64_t count)
      : dtype_(dtype), bytes_(static_cast<size_t>(count * size_of(dtype))) {}

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] void* data() { return bytes_.data(); }
  [[nodiscard]] const void* data() const { return bytes_.data(); }
  [[nodiscard]] float get(int64_t index) const {
    return load(bytes_.data(), dtype_, index);
  }
  void set(int64_t index, float value) {
    store(bytes_.data(), dtype_, index, value);
  }
  [[nodiscard]] const std::vector<unsigned char>& bytes() const {
    return bytes_;
  }

 private:
  DType dtype_;
  std::vector<unsigned char> bytes_;
};

inline TestTensor random_tensor(DType dtype, int64_t count, unsigned seed) {
  TestTensor tensor(dtype, count);
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < count; ++i) tensor.set(i, normal(engine));
  return tensor;
}

}  // namespace quanto::scale
