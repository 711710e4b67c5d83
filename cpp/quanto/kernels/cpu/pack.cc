// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/tables.h"
#include "quanto/kernels/cpu/walk.h"

// The planes of a packed matrix are whole rows of codes one after the other.
// Seen as flat arrays, byte i holds the codes i, i + bytes, i + 2 * bytes, ...
// for `bytes` bytes in all: rows and columns do not matter.

namespace quanto::kernels {
namespace {

#ifdef QUANTO_HAS_AVX512
using ByteVec = __m512i;
inline ByteVec load_raw(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline void store_raw(uint8_t* p, ByteVec a) { _mm512_storeu_si512(p, a); }
inline ByteVec raw_broadcast(int x) {
  return _mm512_set1_epi8(static_cast<char>(x));
}
inline ByteVec raw_and(ByteVec a, ByteVec b) { return _mm512_and_si512(a, b); }
inline ByteVec raw_or(ByteVec a, ByteVec b) { return _mm512_or_si512(a, b); }
/// Shifts 16 bits at a time: bits that cross a byte are for the caller to mask.
inline ByteVec raw_shift_left(ByteVec a, int bits) {
  return _mm512_sll_epi16(a, _mm_cvtsi32_si128(bits));
}
inline ByteVec raw_shift_right(ByteVec a, int bits) {
  return _mm512_srl_epi16(a, _mm_cvtsi32_si128(bits));
}
#elif defined(QUANTO_HAS_NEON)
using ByteVec = uint8x16_t;
inline ByteVec load_raw(const uint8_t* p) { return vld1q_u8(p); }
inline void store_raw(uint8_t* p, ByteVec a) { vst1q_u8(p, a); }
inline ByteVec raw_broadcast(int x) {
  return vdupq_n_u8(static_cast<uint8_t>(x));
}
inline ByteVec raw_and(ByteVec a, ByteVec b) { return vandq_u8(a, b); }
inline ByteVec raw_or(ByteVec a, ByteVec b) { return vorrq_u8(a, b); }
inline ByteVec raw_shift_left(ByteVec a, int bits) { return a << bits; }
inline ByteVec raw_shift_right(ByteVec a, int bits) { return a >> bits; }
#else
using ByteVec = __m256i;
inline ByteVec load_raw(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store_raw(uint8_t* p, ByteVec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
}
inline ByteVec raw_broadcast(int x) {
  return _mm256_set1_epi8(static_cast<char>(x));
}
inline ByteVec raw_and(ByteVec a, ByteVec b) { return _mm256_and_si256(a, b); }
inline ByteVec raw_or(ByteVec a, ByteVec b) { return _mm256_or_si256(a, b); }
inline ByteVec raw_shift_left(ByteVec a, int bits) {
  return _mm256_sll_epi16(a, _mm_cvtsi32_si128(bits));
}
inline ByteVec raw_shift_right(ByteVec a, int bits) {
  return _mm256_srl_epi16(a, _mm_cvtsi32_si128(bits));
}
#endif
constexpr int64_t kRawBytes = sizeof(ByteVec);

/// Calls whole(i) for vectors of bytes of [begin, end) and single(i) for the
/// bytes that remain.
template <typename Whole, typename Single>
inline void for_each_bytes(int64_t begin, int64_t end, Whole whole,
                           Single single) {
  int64_t i = begin;
  for (; i + kRawBytes <= end; i += kRawBytes) whole(i);
  for (; i < end; ++i) single(i);
}

/// Bytes [begin, end), in which only the first `planes` planes have codes.
template <int kBits>
void pack_bytes(const uint8_t* codes, int64_t bytes, int64_t planes,
                int64_t begin, int64_t end, uint8_t* packed) {
  constexpr int kMask = (1 << kBits) - 1;
  for_each_bytes(
      begin, end,
      [&](int64_t i) {
        ByteVec all = raw_broadcast(0);
        for (int64_t j = planes - 1; j >= 0; --j) {
          const ByteVec code =
              raw_and(load_raw(codes + j * bytes + i), raw_broadcast(kMask));
          all = raw_or(raw_shift_left(all, kBits), code);
        }
        store_raw(packed + i, all);
      },
      [&](int64_t i) {
        int all = 0;
        for (int64_t j = planes - 1; j >= 0; --j) {
          all = all << kBits | (codes[j * bytes + i] & kMask);
        }
        packed[i] = static_cast<uint8_t>(all);
      });
}

template <int kBits>
void pack_all(const uint8_t* codes, int64_t size, int64_t bytes,
              uint8_t* packed, Executor& executor) {
  executor.parallel_for(bytes, kGrain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      // Planes that have a code at `begin`, and where the last of them ends.
      const int64_t planes = (size - begin + bytes - 1) / bytes;
      const int64_t stop = smaller_of(end, size - (planes - 1) * bytes);
      pack_bytes<kBits>(codes, bytes, planes, begin, stop, packed);
      begin = stop;
    }
  });
}

void pack(const uint8_t* codes, int64_t rows, int64_t columns, int bits,
          uint8_t* packed, Executor& executor) {
  const int64_t bytes = packed_rows(rows, bits) * columns;
  const auto run = bits == 4 ? pack_all<4> : pack_all<2>;
  run(codes, rows * columns, bytes, packed, executor);
}

template <int kBits>
void unpack_all(const uint8_t* packed, int64_t bytes, uint8_t* codes,
                Executor& executor) {
  constexpr int kMask = (1 << kBits) - 1;
  executor.parallel_for(bytes, kGrain, [&](int64_t begin, int64_t end) {
    for_each_bytes(
        begin, end,
        [&](int64_t i) {
          const ByteVec all = load_raw(packed + i);
          for (int j = 0; j < 8 / kBits; ++j) {
            const ByteVec code =
                raw_and(raw_shift_right(all, j * kBits), raw_broadcast(kMask));
            store_raw(codes + j * bytes + i, code);
          }
        },
        [&](int64_t i) {
          for (int j = 0; j < 8 / kBits; ++j) {
            codes[j * bytes + i] =
                static_cast<uint8_t>(packed[i] >> (j * kBits) & kMask);
          }
        });
  });
}

void unpack(const uint8_t* packed, int64_t packed_rows, int64_t columns,
            int bits, uint8_t* codes, Executor& executor) {
  const auto run = bits == 4 ? unpack_all<4> : unpack_all<2>;
  run(packed, packed_rows * columns, codes, executor);
}

}  // namespace

PackTable QUANTO_FOR_ISA(pack)() { return {pack, unpack}; }

}  // namespace quanto::kernels
