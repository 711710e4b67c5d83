// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "quanto/core/dtype.h"
#include "quanto/core/float_convert.h"

namespace quanto::cli {

/// One element of float data that is aligned to one byte.
inline float element(std::span<const std::byte> data, DType dtype,
                     int64_t index) {
  if (dtype == DType::kFloat32) {
    float value;
    std::memcpy(&value, data.data() + index * 4, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data.data() + index * 2, sizeof(bits));
  return dtype == DType::kFloat16 ? float_from_fp16(bits)
                                  : float_from_bf16(bits);
}

}  // namespace quanto::cli
