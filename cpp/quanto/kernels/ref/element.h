// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "quanto/core/dtype.h"
#include "quanto/core/float_convert.h"

// Elements of a runtime dtype as fp32, at any alignment. Only the reference
// includes this: its templates are compiled for the baseline CPU.

namespace quanto::kernels::ref {

template <DType kType>
struct Element;

template <typename Bits, float (*kDecode)(Bits), Bits (*kEncode)(float)>
struct BitsElement {
  static constexpr int64_t kSize = sizeof(Bits);

  static float load(const void* data, int64_t index) {
    Bits bits;
    std::memcpy(&bits, static_cast<const char*>(data) + index * kSize, kSize);
    return kDecode(bits);
  }
  static void store(void* data, int64_t index, float value) {
    const Bits bits = kEncode(value);
    std::memcpy(static_cast<char*>(data) + index * kSize, &bits, kSize);
  }
  static float round(float value) { return kDecode(kEncode(value)); }
};

inline float same_float(float value) { return value; }

/// An integral float within the range of int8.
inline int8_t int8_from_float(float value) {
  return static_cast<int8_t>(value);
}
inline float float_from_int8(int8_t value) { return value; }

template <>
struct Element<DType::kFloat32> : BitsElement<float, same_float, same_float> {};
template <>
struct Element<DType::kFloat16>
    : BitsElement<uint16_t, float_from_fp16, fp16_from_float> {};
template <>
struct Element<DType::kBFloat16>
    : BitsElement<uint16_t, float_from_bf16, bf16_from_float> {};
template <>
struct Element<DType::kInt8>
    : BitsElement<int8_t, float_from_int8, int8_from_float> {};
template <>
struct Element<DType::kFloat8E4M3FN>
    : BitsElement<uint8_t, float_from_e4m3fn, e4m3fn_from_float> {};
template <>
struct Element<DType::kFloat8E5M2>
    : BitsElement<uint8_t, float_from_e5m2, e5m2_from_float> {};
template <>
struct Element<DType::kFloat8E4M3FNUZ>
    : BitsElement<uint8_t, float_from_e4m3fnuz, e4m3fnuz_from_float> {};

/// Calls `f` with the Element of a float weight's or activation's dtype.
template <typename F>
void with_activation(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kFloat16:
      return f(Element<DType::kFloat16>{});
    case DType::kBFloat16:
      return f(Element<DType::kBFloat16>{});
    default:
      return f(Element<DType::kFloat32>{});
  }
}

/// Calls `f` with the Element of 8-bit data.
template <typename F>
void with_storage(DType storage, F&& f) {
  switch (storage) {
    case DType::kFloat8E4M3FN:
      return f(Element<DType::kFloat8E4M3FN>{});
    case DType::kFloat8E5M2:
      return f(Element<DType::kFloat8E5M2>{});
    case DType::kFloat8E4M3FNUZ:
      return f(Element<DType::kFloat8E4M3FNUZ>{});
    default:
      return f(Element<DType::kInt8>{});
  }
}

/// How many pieces of `size` elements make a range worth a thread.
inline int64_t grain_of(int64_t size) {
  constexpr int64_t kElements = 16384;
  return std::max<int64_t>(1, kElements / std::max<int64_t>(1, size));
}

}  // namespace quanto::kernels::ref
