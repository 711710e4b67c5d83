// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/dtype.h"
#include "quanto/kernels/cpu/float8.h"

// Elements of a float dtype as vectors of fp32, at any alignment. Functions
// take the number of lanes as a type, All or Some, so that a loop body is
// written once and compiled for full vectors and for the tail.

namespace quanto::kernels {
namespace {

/// Vec::kLanes lanes.
struct All {};
/// The first `count` < Vec::kLanes lanes; loads give 0 for the others.
struct Some {
  int count;
};
/// All lanes, each of the same element.
struct Same {};

/// Calls f(i, lanes) for consecutive vectors of [0, count).
template <typename F>
inline void for_each_vector(int64_t count, F f) {
  int64_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) f(i, All{});
  if (i < count) f(i, Some{static_cast<int>(count - i)});
}

constexpr float kNan = __builtin_bit_cast(float, 0x7fc00000);

template <DType kType>
struct Element;

template <>
struct Element<DType::kFloat32> {
  static const float* at(const void* data, int64_t index) {
    return reinterpret_cast<const float*>(static_cast<const char*>(data) +
                                          index * 4);
  }
  static float* at(void* data, int64_t index) {
    return reinterpret_cast<float*>(static_cast<char*>(data) + index * 4);
  }
  static Vec load(const void* data, int64_t index, All /*lanes*/) {
    return kernels::load(at(data, index));
  }
  static Vec load(const void* data, int64_t index, Some lanes) {
    return load_tail(at(data, index), lanes.count);
  }
  static Vec load(const void* data, int64_t index, Same /*lanes*/) {
    float value;
    __builtin_memcpy(&value, at(data, index), sizeof(value));
    return broadcast(value);
  }
  static void store(void* data, int64_t index, Vec value, All /*lanes*/) {
    kernels::store(at(data, index), value);
  }
  static void store(void* data, int64_t index, Vec value, Some lanes) {
    store_tail(at(data, index), value, lanes.count);
  }
  static void store_two(void* data, int64_t index, Vec low, Vec high) {
    store(data, index, low, All{});
    store(data, index + Vec::kLanes, high, All{});
  }
  static Vec round(Vec value) { return value; }
  static Vec round_sum(Vec value) { return value; }
};

/// Where the types of 16 bits stand.
struct Element16 {
  static const uint16_t* at(const void* data, int64_t index) {
    return reinterpret_cast<const uint16_t*>(static_cast<const char*>(data) +
                                             index * 2);
  }
  static uint16_t* at(void* data, int64_t index) {
    return reinterpret_cast<uint16_t*>(static_cast<char*>(data) + index * 2);
  }
  static int bits_at(const void* data, int64_t index) {
    uint16_t bits;
    __builtin_memcpy(&bits, at(data, index), sizeof(bits));
    return bits;
  }
};

template <>
struct Element<DType::kFloat16> : Element16 {
  static Vec load(const void* data, int64_t index, All /*lanes*/) {
    return load_fp16(at(data, index));
  }
  static Vec load(const void* data, int64_t index, Some lanes) {
    return load_fp16_tail(at(data, index), lanes.count);
  }
  static Vec load(const void* data, int64_t index, Same /*lanes*/) {
    return from_fp16(half_broadcast(bits_at(data, index)));
  }
  static void store(void* data, int64_t index, Vec value, All /*lanes*/) {
    store16(at(data, index), to_fp16(value));
  }
  static void store(void* data, int64_t index, Vec value, Some lanes) {
    store16_tail(at(data, index), to_fp16(value), lanes.count);
  }
  static void store_two(void* data, int64_t index, Vec low, Vec high) {
    store(data, index, low, All{});
    store(data, index + Vec::kLanes, high, All{});
  }
  static Vec round(Vec value) { return from_fp16(to_fp16(value)); }
  static Vec round_sum(Vec value) { return round(value); }
};

template <>
struct Element<DType::kBFloat16> : Element16 {
  static Vec load(const void* data, int64_t index, All /*lanes*/) {
    return load_bf16(at(data, index));
  }
  static Vec load(const void* data, int64_t index, Some lanes) {
    return load_bf16_tail(at(data, index), lanes.count);
  }
  static Vec load(const void* data, int64_t index, Same /*lanes*/) {
    return as_float(ibroadcast(bits_at(data, index) << 16));
  }
  static void store(void* data, int64_t index, Vec value, All /*lanes*/) {
    store16(at(data, index), to_bf16(value));
  }
  static void store(void* data, int64_t index, Vec value, Some lanes) {
    store16_tail(at(data, index), to_bf16(value), lanes.count);
  }
  /// Two full vectors, of numbers as round_sum() takes.
  static void store_two(void* data, int64_t index, Vec low, Vec high) {
    store_high_halves(at(data, index), round_high_half(as_int(low)),
                      round_high_half(as_int(high)));
  }
  /// Stays in 32-bit lanes.
  static Vec round(Vec value) {
    return select(is_nan(value), broadcast(kNan), round_sum(value));
  }
  /// The same of a sum or product of two such elements or one and a code, whose
  /// NaN has no bit to lose.
  static Vec round_sum(Vec value) {
    return as_float(iand(round_high_half(as_int(value)), ibroadcast(~0xffff)));
  }
};

inline Bytes load_bytes(const uint8_t* p, All /*lanes*/) {
  return load_bytes(p);
}
inline Bytes load_bytes(const uint8_t* p, Some lanes) {
  return load_bytes_tail(p, lanes.count);
}
inline IVec load_u8(const uint8_t* p, All /*lanes*/) { return load_u8(p); }
inline IVec load_u8(const uint8_t* p, Some lanes) {
  return load_u8_tail(p, lanes.count);
}
inline IVec load_u8(const uint8_t* p, Same /*lanes*/) { return ibroadcast(*p); }
inline IVec load_s8(const int8_t* p, All /*lanes*/) { return load_s8(p); }
inline IVec load_s8(const int8_t* p, Some lanes) {
  return load_s8_tail(p, lanes.count);
}
inline void store_u8(uint8_t* p, IVec a, All /*lanes*/) { store_u8(p, a); }
inline void store_u8(uint8_t* p, IVec a, Some lanes) {
  store_u8_tail(p, a, lanes.count);
}

/// A dtype as a type, to call generic lambdas with.
template <DType kType>
struct Tag {
  static constexpr DType value = kType;
};

/// Calls f with the Tag of a weight's or activation's dtype.
template <typename F>
inline void with_float(DType dtype, F f) {
  switch (dtype) {
    case DType::kFloat16:
      return f(Tag<DType::kFloat16>{});
    case DType::kBFloat16:
      return f(Tag<DType::kBFloat16>{});
    default:
      return f(Tag<DType::kFloat32>{});
  }
}

/// Calls f with the Tag of the dtype of 8-bit codes.
template <typename F>
inline void with_storage(DType storage, F f) {
  switch (storage) {
    case DType::kFloat8E4M3FN:
      return f(Tag<DType::kFloat8E4M3FN>{});
    case DType::kFloat8E5M2:
      return f(Tag<DType::kFloat8E5M2>{});
    case DType::kFloat8E4M3FNUZ:
      return f(Tag<DType::kFloat8E4M3FNUZ>{});
    default:
      return f(Tag<DType::kInt8>{});
  }
}

}  // namespace
}  // namespace quanto::kernels
