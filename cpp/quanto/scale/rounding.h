// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>

#include "quanto/core/dtype.h"
#include "quanto/core/float_convert.h"

// Single elements of a float tensor, by dtype.

namespace quanto::scale {

/// `value` rounded to `dtype`.
inline float rounded(DType dtype, float value) {
  switch (dtype) {
    case DType::kFloat16:
      return float_from_fp16(fp16_from_float(value));
    case DType::kBFloat16:
      return float_from_bf16(bf16_from_float(value));
    default:
      return value;
  }
}

inline float load(const void* data, DType dtype, int64_t index) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  if (dtype == DType::kFloat32) {
    float value;
    std::memcpy(&value, bytes + index * 4, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes + index * 2, sizeof(bits));
  return dtype == DType::kFloat16 ? float_from_fp16(bits)
                                  : float_from_bf16(bits);
}

inline void store(void* data, DType dtype, int64_t index, float value) {
  auto* bytes = static_cast<unsigned char*>(data);
  if (dtype == DType::kFloat32) {
    std::memcpy(bytes + index * 4, &value, sizeof(value));
    return;
  }
  const uint16_t bits = dtype == DType::kFloat16 ? fp16_from_float(value)
                                                 : bf16_from_float(value);
  std::memcpy(bytes + index * 2, &bits, sizeof(bits));
}

}  // namespace quanto::scale
