// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "quanto/core/dtype.h"
#include "quanto/core/float_convert.h"

// For tests of the kernels.

namespace quanto::kernels {

inline float from_bits(DType dtype, uint32_t bits) {
  switch (dtype) {
    case DType::kFloat16:
      return float_from_fp16(static_cast<uint16_t>(bits));
    case DType::kBFloat16:
      return float_from_bf16(static_cast<uint16_t>(bits));
    case DType::kInt8:
      return static_cast<int8_t>(bits);
    case DType::kUInt8:
      return static_cast<float>(bits);
    case DType::kFloat8E4M3FN:
      return float_from_e4m3fn(static_cast<uint8_t>(bits));
    case DType::kFloat8E5M2:
      return float_from_e5m2(static_cast<uint8_t>(bits));
    case DType::kFloat8E4M3FNUZ:
      return float_from_e4m3fnuz(static_cast<uint8_t>(bits));
    default:
      return std::bit_cast<float>(bits);
  }
}

inline uint32_t to_bits(DType dtype, float value) {
  switch (dtype) {
    case DType::kFloat16:
      return fp16_from_float(value);
    case DType::kBFloat16:
      return bf16_from_float(value);
    case DType::kInt8:
    case DType::kUInt8:
      return static_cast<uint8_t>(static_cast<int>(value));
    case DType::kFloat8E4M3FN:
      return e4m3fn_from_float(value);
    case DType::kFloat8E5M2:
      return e5m2_from_float(value);
    case DType::kFloat8E4M3FNUZ:
      return e4m3fnuz_from_float(value);
    default:
      return std::bit_cast<uint32_t>(value);
  }
}

/// The nearest value of the dtype.
inline float rounded(DType dtype, double value) {
  return from_bits(dtype, to_bits(dtype, static_cast<float>(value)));
}

/// Largest relative error of rounding to a float dtype.
constexpr double half_ulp(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
      return 0x1p-11;
    case DType::kBFloat16:
      return 0x1p-8;
    default:
      return 0x1p-24;
  }
}

/// Elements of a dtype at an odd address, as data mapped from a file may stand.
class TestTensor {
 public:
  TestTensor(DType dtype, int64_t numel)
      : dtype_(dtype), numel_(numel), bytes_(1 + numel * size_of(dtype)) {}

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] int64_t numel() const { return numel_; }
  [[nodiscard]] void* data() { return bytes_.data() + 1; }
  [[nodiscard]] const void* data() const { return bytes_.data() + 1; }

  [[nodiscard]] uint32_t bits(int64_t index) const {
    uint32_t bits = 0;
    std::memcpy(&bits, bytes_.data() + 1 + index * size_of(dtype_),
                size_of(dtype_));
    return bits;
  }
  [[nodiscard]] float at(int64_t index) const {
    return from_bits(dtype_, bits(index));
  }
  void set_bits(int64_t index, uint32_t bits) {
    std::memcpy(bytes_.data() + 1 + index * size_of(dtype_), &bits,
                size_of(dtype_));
  }
  void set(int64_t index, float value) {
    set_bits(index, to_bits(dtype_, value));
  }

  /// Every byte, so that a forgotten write shows.
  void fill_bytes(uint8_t byte) {
    std::memset(data(), byte, numel_ * size_of(dtype_));
  }

 private:
  DType dtype_;
  int64_t numel_;
  std::vector<uint8_t> bytes_;
};

/// Uniform values of [low, high], rounded to the dtype.
inline TestTensor random_tensor(DType dtype, int64_t numel, float low,
                                float high, uint32_t seed) {
  TestTensor tensor(dtype, numel);
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> value(low, high);
  for (int64_t i = 0; i < numel; ++i) tensor.set(i, value(engine));
  return tensor;
}

inline constexpr DType kActivations[] = {DType::kFloat32, DType::kFloat16,
                                         DType::kBFloat16};
inline constexpr DType kStorages[] = {DType::kInt8, DType::kFloat8E4M3FN,
                                      DType::kFloat8E5M2,
                                      DType::kFloat8E4M3FNUZ};

}  // namespace quanto::kernels
