// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot.h"
#include "quanto/kernels/cpu/linear_gemv_scales.h"

// The dot products of linear_gemv.h with codes of activations, in integers.

namespace quanto::kernels {
namespace {

/// Groups of a multiple of it are read in whole vectors, or halves of them.
constexpr int64_t kDotGroup = 32;

/// Rows of activations as codes, of one digit to the base 256 or of several.
struct CodeInput {
  const int8_t* x;    ///< [rows][digits][stride], least first, 0 from k on
  const float* sums;  ///< of the groups: [rows][padded_groups], 0 past the last
  const float* units;  ///< of the codes of groups, likewise; null: all 1
  int64_t stride;
  int64_t padded_groups;
};

/// A vector of int8 weights, and its products with as many codes.
struct SignedCodes {
#ifdef QUANTO_HAS_DOT4
  /// Weights are taken plus kOffset, so many times the sum of x is taken off
  /// again.
  static constexpr uint32_t kOffset = kDotOffset;
  static constexpr int64_t kCount = kVecBytes;
  static IVec load(const uint8_t* p) { return as_codes(load_words(p)); }
  static IVec load_tail(const uint8_t* p, int64_t count) {
    return as_codes(load_words_tail(p, count));
  }
  static IVec load_x(const int8_t* p) { return load_words(p); }
  static IVec dot(IVec sum, IVec w, IVec x) { return dot4(sum, w, x); }

 private:
  static IVec as_codes(IVec w) {
    return kOffset == 0 ? w : ixor(w, ibroadcast(0x80808080));
  }
#else
  static constexpr uint32_t kOffset = 0;
  static constexpr int64_t kCount = kVecBytes / 2;
  static IVec load(const void* p) { return load_shorts(p); }
  static IVec load_tail(const uint8_t* p, int64_t count) {
    uint8_t part[kCount] = {};
    for (int64_t i = 0; i < count; ++i) part[i] = p[i];
    return load_shorts(part);
  }
  static IVec load_x(const int8_t* p) { return load_shorts(p); }
  static IVec dot(IVec sum, IVec w, IVec x) { return dot2(sum, w, x); }
#endif
};

/// kRows rows of int8 weights, k apart.
template <int kRows, int kM>
QUANTO_NOINLINE void dot_signed(const uint8_t* data, int64_t k,
                                const CodeInput& input, int64_t first_m,
                                float* sums) {
  const int8_t* x = input.x + first_m * input.stride;
  IVec acc[kM][kRows];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) acc[m][r] = ibroadcast(0);
  }
  int64_t i = 0;
  const auto multiply = [&](auto load_codes) {
    IVec xs[kM];
    QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
      xs[m] = SignedCodes::load_x(x + m * input.stride + i);
    }
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      const IVec w = load_codes(data + r * k + i);
      QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
        acc[m][r] = SignedCodes::dot(acc[m][r], w, xs[m]);
      }
    }
  };
  for (; i + SignedCodes::kCount <= k; i += SignedCodes::kCount) {
    prefetch_rows<kRows>(data, k, i, SignedCodes::kCount);
    multiply(SignedCodes::load);
  }
  if (const int64_t tail = k - i; tail != 0) {
    multiply([=](const uint8_t* p) { return SignedCodes::load_tail(p, tail); });
  }
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    // The sum of the products fits 32 bits; what it is taken from need not.
    const auto x_sum = static_cast<uint32_t>(
        static_cast<int32_t>(input.sums[(first_m + m) * input.padded_groups]));
    reduce_all(acc[m], SignedCodes::kOffset * x_sum, sums + m * kUnitRows);
  }
}

/// Adds the products of kVectors vectors of codes and of the rows of
/// activations from `x` on to acc[m][plane].
template <int kBits, int kDigits, int kVectors, int kM>
inline void add_products(const IVec (&codes)[kVectors], const int8_t* x,
                         int64_t stride, IVec (&acc)[kM][8 / kBits]) {
  QUANTO_UNROLL for (int j = 0; j < 8 / kBits; ++j) {
    IVec w[kVectors];
    QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
      w[v] = plane_codes<kBits>(codes[v], j);
    }
    QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
      IVec sum = kDigits == 1 ? acc[m][j] : ibroadcast(0);
      QUANTO_UNROLL for (int d = kDigits - 1; d >= 0; --d) {
        QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
          sum =
              dot4(sum, w[v],
                   load_words(x + (m * kDigits + d) * stride + v * kVecBytes));
        }
        if (d > 0) sum = shift_left(sum, 8);
      }
      acc[m][j] = kDigits == 1 ? sum : iadd(acc[m][j], sum);
    }
  }
}

/// kRows rows of bytes, k apart, that hold 8 / kBits outputs each. kGroup is
/// the size of a group, kHalfGroup or a multiple of kVecBytes, or 0 for that of
/// the scales.
template <int kBits, int kGroup, int kDigits, int kRows, int kM>
QUANTO_NOINLINE void dot_packed(const uint8_t* data, int64_t k,
                                const UnitScales& scales, int64_t first_row,
                                const CodeInput& input, int64_t first_m,
                                float* sums) {
  constexpr int kPlanes = 8 / kBits;
  Vec total[kM][kPlanes][kRows];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) total[m][j][r] = zero();
    }
  }
  const int8_t* x = input.x + first_m * kDigits * input.stride;
  const float* factors[kM];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    factors[m] = scales.factor +
                 (kDigits == 1 ? 0 : (first_m + m) * scales.factor_stride);
  }
  constexpr bool kHalf = kGroup != 0 && kGroup == kHalfGroup;
  constexpr int kGroups = kHalf ? 2 : 1;
  constexpr int kVectors = kHalf ? 1 : kGroup / kVecBytes;
  const int64_t size = kGroup != 0 ? kGroup : scales.group_size;
  for (int64_t group = 0; group < scales.groups; group += kGroups) {
    const int64_t i = group * size;
    scales.ahead->ask<kPlanes, kGroups * kRows>();
    prefetch_rows<kRows>(data, k, i, kGroups * size);
    const int64_t place = scales.place<kPlanes>(group, first_row);
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      const uint8_t* bytes = data + r * k + i;
      IVec acc[kM][kPlanes];
      QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
        QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
          acc[m][j] = ibroadcast(0);
        }
      }
      if constexpr (kGroup != 0) {
        IVec codes[kVectors];
        QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
          codes[v] = kHalf && i + kVecBytes > k
                         ? load_words_tail(bytes, kGroup)
                         : load_words(bytes + v * kVecBytes);
        }
        add_products<kBits, kDigits>(codes, x + i, input.stride, acc);
      } else {
        int64_t at = 0;
        for (; at + kVecBytes <= size; at += kVecBytes) {
          const IVec codes[] = {load_words(bytes + at)};
          add_products<kBits, kDigits>(codes, x + i + at, input.stride, acc);
        }
        if (const int64_t tail = size - at; tail != 0) {
          const IVec codes[] = {load_words_tail(bytes + at, tail)};
          add_products<kBits, kDigits>(codes, x + i + at, input.stride, acc);
        }
      }
      QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
        const int64_t at =
            place + j * scales.kPlaneStride + r * scales.kRowStride;
        QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
          total[m][j][r] =
              fma(to_float(acc[m][j]), group_scales<kGroups>(factors[m] + at),
                  total[m][j][r]);
        }
      }
    }
  }
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    const float* x_sums = input.sums + (first_m + m) * input.padded_groups;
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      const Vec unit = broadcast(plane_unit<kBits>(j));
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        total[m][j][r] = fms(total[m][j][r], unit,
                             shift_sum(scales, j, first_row + r, x_sums));
      }
      reduce_all(total[m][j], sums + (m * kPlanes + j) * kUnitRows);
    }
  }
}

}  // namespace
}  // namespace quanto::kernels
