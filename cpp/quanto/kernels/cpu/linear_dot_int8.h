// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot.h"
#include "quanto/kernels/cpu/linear_gemv_scales.h"

// The dot products of linear_gemv.h with int8 codes of activations, in
// integers.

namespace quanto::kernels {
namespace {

/// Groups of a multiple of it are read in whole vectors, or halves of them.
constexpr int64_t kDotGroup = 32;

/// Rows of activations, from one on.
struct CodeInput {
  const int8_t* x;    ///< rows `stride` apart, zeros from k on
  const float* sums;  ///< of the groups: [rows][padded_groups], 0 past the last
  int64_t stride;
  int64_t padded_groups;

  [[nodiscard]] CodeInput from(int64_t m) const {
    return {x + m * stride, sums + m * padded_groups, stride, padded_groups};
  }
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
                                const CodeInput& input, float* sums) {
  IVec acc[kM][kRows];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) acc[m][r] = ibroadcast(0);
  }
  int64_t i = 0;
  const auto multiply = [&](auto load_codes) {
    IVec xs[kM];
    QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
      xs[m] = SignedCodes::load_x(input.x + m * input.stride + i);
    }
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      const IVec w = load_codes(data + r * k + i);
      QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
        acc[m][r] = SignedCodes::dot(acc[m][r], w, xs[m]);
      }
    }
  };
  for (; i + SignedCodes::kCount <= k; i += SignedCodes::kCount) {
    prefetch_rows<kRows>(data + kRows * k + i, k, SignedCodes::kCount);
    multiply(SignedCodes::load);
  }
  if (const int64_t tail = k - i; tail != 0) {
    multiply([=](const uint8_t* p) { return SignedCodes::load_tail(p, tail); });
  }
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    // The sum of the products fits 32 bits; what it is taken from need not.
    const auto x_sum = static_cast<uint32_t>(
        static_cast<int32_t>(input.sums[m * input.padded_groups]));
    reduce_all(acc[m], SignedCodes::kOffset * x_sum, sums + m * kUnitRows);
  }
}

/// kRows rows of bytes, k apart, that hold 8 / kBits outputs each. kGroup is
/// the size of a group, or 0 where that is known at run time only.
template <int kBits, int kGroup, int kRows, int kM>
QUANTO_NOINLINE void dot_packed(const uint8_t* data, int64_t k,
                                const UnitScales& scales, int64_t first_row,
                                const CodeInput& input, float* sums) {
  constexpr int kPlanes = 8 / kBits;
  const IVec mask = ibroadcast(((1 << kBits) - 1) * 0x1010101);
  Vec total[kM][kPlanes][kRows];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) total[m][j][r] = zero();
    }
  }
  const int64_t size = kGroup != 0 ? kGroup : scales.group_size;
  for (int64_t group = 0; group < scales.groups; ++group) {
    const int64_t i = group * size;
    prefetch_rows<kRows>(data + kRows * k + i, k, size);
    IVec acc[kM][kPlanes][kRows];
    QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
      QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
        QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
          acc[m][j][r] = ibroadcast(0);
        }
      }
    }
    const auto step = [&](int64_t at, auto load_codes) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        const IVec codes = load_codes(data + r * k + at);
        QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
          const IVec w = iand(shift_right(codes, j * kBits), mask);
          QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
            acc[m][j][r] = dot4(acc[m][j][r], w,
                                load_words(input.x + m * input.stride + at));
          }
        }
      }
    };
    if constexpr (kGroup != 0) {
      QUANTO_UNROLL for (int64_t at = 0; at < kGroup; at += kVecBytes) {
        step(i + at, load_words);
      }
    } else {
      int64_t at = 0;
      for (; at + kVecBytes <= size; at += kVecBytes) step(i + at, load_words);
      if (const int64_t tail = size - at; tail != 0) {
        step(i + at,
             [=](const uint8_t* p) { return load_words_tail(p, tail); });
      }
    }
    const float* scale =
        scales.scale + scales.chunk(group, first_row) + group % kGroupChunk;
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        const Vec by =
            broadcast(scale[j * scales.kPlaneStride + r * scales.kRowStride]);
        QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
          total[m][j][r] = fma(to_float(acc[m][j][r]), by, total[m][j][r]);
        }
      }
    }
  }
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        total[m][j][r] = sub(total[m][j][r],
                             shift_sum(scales, j, first_row + r,
                                       input.sums + m * input.padded_groups));
      }
      reduce_all(total[m][j], sums + (m * kPlanes + j) * kUnitRows);
    }
  }
}

}  // namespace
}  // namespace quanto::kernels
