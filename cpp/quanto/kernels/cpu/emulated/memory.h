// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "quanto/kernels/cpu/emulated/lanes.h"

// Loads and stores. A masked one touches the bytes of its set bits only.

namespace quanto::kernels {
namespace {

template <typename V>
inline V load_any(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

/// An access that the CPU would refuse.
inline void check_aligned(const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % 64 != 0) __builtin_trap();
}

/// Elements of T whose bit is set, the others 0.
template <typename V, typename T>
inline V load_masked(uint64_t mask, const void* p) {
  constexpr int kCount = sizeof(V) / sizeof(T);
  T elements[kCount] = {};
  for (int i = 0; i < kCount; ++i) {
    if (!bit_of(mask, i)) continue;
    __builtin_memcpy(elements + i, static_cast<const char*>(p) + i * sizeof(T),
                     sizeof(T));
  }
  return load_any<V>(elements);
}

template <typename T, typename V>
inline void store_masked(void* p, uint64_t mask, V v) {
  constexpr int kCount = sizeof(V) / sizeof(T);
  T elements[kCount];
  __builtin_memcpy(elements, &v, sizeof(v));
  for (int i = 0; i < kCount; ++i) {
    if (!bit_of(mask, i)) continue;
    __builtin_memcpy(static_cast<char*>(p) + i * sizeof(T), elements + i,
                     sizeof(T));
  }
}

inline __m512 _mm512_loadu_ps(const void* p) { return load_any<__m512>(p); }
inline __m512i _mm512_loadu_si512(const void* p) {
  return load_any<__m512i>(p);
}
inline __m512i _mm512_load_si512(const void* p) {
  check_aligned(p);
  return load_any<__m512i>(p);
}
inline void _mm512_storeu_ps(void* p, __m512 v) {
  __builtin_memcpy(p, &v, sizeof(v));
}
inline void _mm512_storeu_si512(void* p, __m512i v) {
  __builtin_memcpy(p, &v, sizeof(v));
}
inline void _mm512_store_si512(void* p, __m512i v) {
  check_aligned(p);
  __builtin_memcpy(p, &v, sizeof(v));
}

inline __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const void* p) {
  return load_masked<__m512, uint32_t>(mask, p);
}
inline __m512i _mm512_maskz_loadu_epi16(__mmask32 mask, const void* p) {
  return load_masked<__m512i, uint16_t>(mask, p);
}
inline __m512i _mm512_maskz_loadu_epi8(__mmask64 mask, const void* p) {
  return load_masked<__m512i, uint8_t>(mask, p);
}
inline __m256i _mm256_maskz_loadu_epi16(__mmask16 mask, const void* p) {
  return load_masked<__m256i, uint16_t>(mask, p);
}
inline __m256i _mm256_maskz_loadu_epi8(__mmask32 mask, const void* p) {
  return load_masked<__m256i, uint8_t>(mask, p);
}
inline __m128i _mm_maskz_loadu_epi8(__mmask16 mask, const void* p) {
  return load_masked<__m128i, uint8_t>(mask, p);
}
inline void _mm512_mask_storeu_ps(void* p, __mmask16 mask, __m512 v) {
  store_masked<uint32_t>(p, mask, v);
}
inline void _mm256_mask_storeu_epi16(void* p, __mmask16 mask, __m256i v) {
  store_masked<uint16_t>(p, mask, v);
}
inline void _mm_mask_storeu_epi8(void* p, __mmask16 mask, __m128i v) {
  store_masked<uint8_t>(p, mask, v);
}

}  // namespace
}  // namespace quanto::kernels
