// SPDX-License-Identifier: Apache-2.0
#include "quanto/scale/hqq_row.h"

#include <array>
#include <bit>
#include <cstring>
#include <numbers>

namespace quanto::scale {
namespace {

#if defined(__x86_64__)
/// Compiled for several instruction sets, of which the processor's is taken at
/// run time; without fused multiply-adds (CMakeLists.txt) all give the same.
#define QUANTO_CLONES \
  __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define QUANTO_CLONES
#endif
/// Part of each clone.
#define QUANTO_INLINE [[gnu::always_inline]] inline

/// Elements of a row that are worked on together: as many as the widest
/// registers have lanes, and several narrower registers.
constexpr size_t kLanes = 16;
using Floats [[gnu::vector_size(kLanes * 4)]] = float;
using Ints [[gnu::vector_size(kLanes * 4)]] = int32_t;
using Words [[gnu::vector_size(kLanes * 2)]] = uint16_t;
using Bytes [[gnu::vector_size(kLanes)]] = uint8_t;
using Doubles [[gnu::vector_size(kLanes * 8)]] = double;

/// x^exponent for x >= 0 to about 1e-6; some large number for x = 0 and a
/// negative exponent.
QUANTO_INLINE Floats power(Floats x, float exponent) {
  // log2: x = 2^e * m with m in [sqrt(1/2), sqrt(2)), then the series of
  // log((1 + s) / (1 - s)).
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const auto bits = std::bit_cast<Ints>(x);
  const Ints e = (bits - kSqrtHalf) >> 23;
  const auto m = std::bit_cast<Floats>(bits - e * (1 << 23));
  const Floats s = (m - 1.0F) / (m + 1.0F);
  const Floats t = s * s;
  const Floats series =
      s *
      (2.88539008F + t * (0.961796694F + t * (0.577078016F + t * 0.41219858F)));
  const Floats log2 = __builtin_convertvector(e, Floats) + series;
  // exp2: the nearest integer goes to the exponent, the rest into the series
  // of exp.
  Floats y = log2 * exponent;
  y = y > -126.0F ? y : Floats{} - 126.0F;
  y = y < 126.0F ? y : Floats{} + 126.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds
  const Floats shifted = y + kRound;
  const Ints k = std::bit_cast<Ints>(shifted) - 0x4b400000;
  const Floats f = (y - (shifted - kRound)) * std::numbers::ln2_v<float>;
  const Floats exp =
      1.0F +
      f * (1.0F + f * (0.5F + f * (0.166666667F +
                                   f * (0.0416666667F + f * 0.00833333333F))));
  return exp * std::bit_cast<Floats>((k + 127) << 23);
}

/// Sums in interleaved parts: floats over a few vectors, then doubles.
struct Sums {
  Floats recent{};
  Doubles parts{};
};

QUANTO_INLINE void settle(Sums& sums) {
  sums.parts += __builtin_convertvector(sums.recent, Doubles);
  sums.recent = Floats{};
}

/// Lane i ^ kBy in the place of lane i.
template <int kBy, typename Vector>
QUANTO_INLINE Vector swapped(Vector v) {
  return __builtin_shufflevector(v, v, 0 ^ kBy, 1 ^ kBy, 2 ^ kBy, 3 ^ kBy,
                                 4 ^ kBy, 5 ^ kBy, 6 ^ kBy, 7 ^ kBy, 8 ^ kBy,
                                 9 ^ kBy, 10 ^ kBy, 11 ^ kBy, 12 ^ kBy,
                                 13 ^ kBy, 14 ^ kBy, 15 ^ kBy);
}

QUANTO_INLINE double total(Doubles parts) {
  parts += swapped<8>(parts);
  parts += swapped<4>(parts);
  parts += swapped<2>(parts);
  parts += swapped<1>(parts);
  return parts[0];
}

QUANTO_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }

QUANTO_INLINE float largest_lane(Floats v) {
  v = larger(v, swapped<8>(v));
  v = larger(v, swapped<4>(v));
  v = larger(v, swapped<2>(v));
  v = larger(v, swapped<1>(v));
  return v[0];
}

/// Vectors of elements that are loaded at a time, and what they hold: as many
/// codes as a vector has bytes.
constexpr size_t kVectors = 4;
constexpr size_t kBlock = kVectors * kLanes;

/// Elements or codes; kBlock of them.
struct Block {
  Floats part[kVectors];
};

/// Which of them lane 0 of part p is, and how far apart those of neighbouring
/// lanes are: 16-bit elements take the order in which words of four bytes hold
/// codes, which costs no shuffles of bytes.
template <DType kDType>
struct Order {
  static constexpr bool kWords = kDType != DType::kFloat32;
  static constexpr size_t first(size_t part) {
    return kWords ? part : part * kLanes;
  }
  static constexpr size_t kStep = kWords ? kVectors : 1;
};

/// fp16 or bf16 numbers, finite ones, in the lower halves of lanes.
template <DType kDType>
QUANTO_INLINE Floats from_halves(Ints bits) {
  if constexpr (kDType == DType::kBFloat16) {
    return std::bit_cast<Floats>(bits << 16);
  }
  // As the bits of an fp32 number it is too small by the difference of the
  // exponents' biases, subnormal ones too.
  const Ints wide = (bits & 0x7fff) << 13 | (bits & 0x8000) << 16;
  return std::bit_cast<Floats>(wide) * 0x1p112F;
}

template <DType kDType>
QUANTO_INLINE void load_elements(const unsigned char* base, Block& w) {
  if constexpr (kDType == DType::kFloat32) {
    std::memcpy(&w, base, sizeof(w));
  } else {
    Ints low, high;  // two elements in a lane
    std::memcpy(&low, base, sizeof(low));
    std::memcpy(&high, base + sizeof(low), sizeof(high));
    const Ints even = __builtin_shufflevector(
        low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const Ints odd = __builtin_shufflevector(
        low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    w.part[0] = from_halves<kDType>(even & 0xffff);
    w.part[1] = from_halves<kDType>(even >> 16 & 0xffff);
    w.part[2] = from_halves<kDType>(odd & 0xffff);
    w.part[3] = from_halves<kDType>(odd >> 16 & 0xffff);
  }
}

template <DType kDType>
QUANTO_INLINE void load_codes(const uint8_t* codes, Block& q) {
  if constexpr (Order<kDType>::kWords) {
    Ints words;
    std::memcpy(&words, codes, sizeof(words));
    for (size_t p = 0; p < kVectors; ++p) {
      const Ints code = words >> (8 * static_cast<int32_t>(p)) & 0xff;
      q.part[p] = __builtin_convertvector(code, Floats);
    }
  } else {
    for (size_t p = 0; p < kVectors; ++p) {
      Bytes bytes;
      std::memcpy(&bytes, codes + p * kLanes, sizeof(bytes));
      // Bytes that become 32 bits in one step go one by one in GCC 12.
      const Words words = __builtin_convertvector(bytes, Words);
      q.part[p] =
          __builtin_convertvector(__builtin_convertvector(words, Ints), Floats);
    }
  }
}

/// What is left of errors of these magnitudes, with the signs of `e`.
QUANTO_INLINE Floats shrunk(const Shrinkage& shrinkage, Floats magnitude,
                            Floats e) {
  const Floats rest =
      magnitude - shrinkage.inverse_beta * power(magnitude, shrinkage.exponent);
  const Floats positive = rest > 0.0F ? rest : Floats{};
  return e < 0.0F ? -positive : positive;
}

/// The same in lanes.
struct Refining {
  Sums error;
  Sums shift;
  Floats largest{};
};

/// kLanes elements w with codes q, of which those count that are `inside`; all
/// if it is null.
QUANTO_INLINE void refine_lanes(const GroupRow& row, Floats w, Floats q,
                                const Ints* inside, const Shrinkage* shrinkage,
                                Refining& to) {
  const Floats scaled = row.step * q;
  const Floats e = w - (scaled - row.offset);
  auto magnitude = std::bit_cast<Floats>(std::bit_cast<Ints>(e) & 0x7fffffff);
  if (shrinkage != nullptr) w -= shrunk(*shrinkage, magnitude, e);
  Floats exact = scaled - w;
  if (inside != nullptr) {
    magnitude = *inside ? magnitude : Floats{};
    exact = *inside ? exact : Floats{};
  }
  to.largest = larger(magnitude, to.largest);
  to.error.recent += magnitude;
  to.shift.recent += exact;
}

/// The first `count` of the kBlock elements at `base` with their codes.
template <DType kDType>
QUANTO_INLINE void refine_block(const GroupRow& row, const unsigned char* base,
                                const uint8_t* codes, size_t count,
                                const Shrinkage* shrinkage, Refining& to) {
  using Place = Order<kDType>;
  constexpr Ints kLaneIds = {0, 1, 2,  3,  4,  5,  6,  7,
                             8, 9, 10, 11, 12, 13, 14, 15};
  Block w, q;
  load_elements<kDType>(base, w);
  load_codes<kDType>(codes, q);
  for (size_t p = 0; p < kVectors; ++p) {
    if (count == kBlock) {
      refine_lanes(row, w.part[p], q.part[p], nullptr, shrinkage, to);
    } else {
      const Ints index = kLaneIds * static_cast<int32_t>(Place::kStep) +
                         static_cast<int32_t>(Place::first(p));
      const Ints inside = index < static_cast<int32_t>(count);
      refine_lanes(row, w.part[p], q.part[p], &inside, shrinkage, to);
    }
  }
}

template <DType kDType>
QUANTO_INLINE Refined refine_row(const GroupRow& row,
                                 const Shrinkage* shrinkage) {
  constexpr size_t kSize = kDType == DType::kFloat32 ? 4 : 2;
  constexpr size_t kRecent = 2 * kBlock;
  Refining to;
  size_t i = 0;
  for (; i + kBlock <= row.width; i += kBlock) {
    if (i != 0 && i % kRecent == 0) {
      settle(to.error);
      settle(to.shift);
    }
    refine_block<kDType>(row, row.base + i * kSize, row.codes + i, kBlock,
                         shrinkage, to);
  }
  if (const size_t count = row.width - i; count != 0) {
    std::array<unsigned char, kBlock * kSize> base{};
    std::array<uint8_t, kBlock> codes{};
    std::memcpy(base.data(), row.base + i * kSize, count * kSize);
    std::memcpy(codes.data(), row.codes + i, count);
    refine_block<kDType>(row, base.data(), codes.data(), count, shrinkage, to);
  }
  settle(to.error);
  settle(to.shift);
  return {total(to.error.parts), total(to.shift.parts),
          largest_lane(to.largest)};
}

QUANTO_CLONES Refined refine_fp32(const GroupRow& row,
                                  const Shrinkage* shrinkage) {
  return refine_row<DType::kFloat32>(row, shrinkage);
}
QUANTO_CLONES Refined refine_fp16(const GroupRow& row,
                                  const Shrinkage* shrinkage) {
  return refine_row<DType::kFloat16>(row, shrinkage);
}
QUANTO_CLONES Refined refine_bf16(const GroupRow& row,
                                  const Shrinkage* shrinkage) {
  return refine_row<DType::kBFloat16>(row, shrinkage);
}

}  // namespace

Refine refine_of(DType dtype) {
  return dtype == DType::kFloat32   ? refine_fp32
         : dtype == DType::kFloat16 ? refine_fp16
                                    : refine_bf16;
}

}  // namespace quanto::scale
