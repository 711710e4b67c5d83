// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot.h"
#include "quanto/kernels/cpu/linear_dot_packed.h"

// Products of codes in integers.

namespace quanto::kernels {
namespace {

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
                                const DotInput& input, int64_t first_m,
                                float* sums) {
  IntSums acc[kM][kRows];
  unrolled<kM, kRows>([&](int m, int r)
                          QUANTO_INLINE_BODY { acc[m][r] = ibroadcast(0); });
  const int8_t* x = input.x + first_m * input.row_bytes;
  const auto multiply = [&](const int8_t* xs,
                            auto load_codes) QUANTO_INLINE_BODY {
    IVec w[kRows];
    unrolled<kRows>([&](int r) QUANTO_INLINE_BODY { w[r] = load_codes(r); });
    unrolled<kM, kRows>([&](int m, int r) QUANTO_INLINE_BODY {
      acc[m][r] = SignedCodes::dot(acc[m][r], w[r],
                                   SignedCodes::load_x(xs + m * kVecBytes));
    });
  };
  int64_t i = 0;
  for (; i + kVecBytes <= k; i += kVecBytes, x += kM * kVecBytes) {
    prefetch_rows<kRows>(data, k, i, kVecBytes);
    unrolled<kVecBytes / SignedCodes::kCount>([&](int v) QUANTO_INLINE_BODY {
      const int64_t at = v * SignedCodes::kCount;
      multiply(x + at, [&](int r) QUANTO_INLINE_BODY {
        return SignedCodes::load(data + r * k + i + at);
      });
    });
  }
  for (int64_t at = 0; i + at < k; at += SignedCodes::kCount) {
    const int64_t count = smaller(SignedCodes::kCount, k - i - at);
    multiply(x + at, [&](int r) QUANTO_INLINE_BODY {
      return SignedCodes::load_tail(data + r * k + i + at, count);
    });
  }
  unrolled<kM>([&](int m) QUANTO_INLINE_BODY {
    // The sum of the products fits 32 bits; what it is taken from need not.
    const auto x_sum = static_cast<uint32_t>(
        static_cast<int32_t>(input.sums[(first_m + m) * input.padded_groups]));
    reduce_all(acc[m], SignedCodes::kOffset * x_sum, sums + m * kUnitRows);
  });
}

/// Products of linear_dot_packed.h: of packed codes with codes of kDigits
/// digits to the base 256, a cell for each, the least first. Sums are exact.
template <int kPackedBits, int kDigits>
struct IntProducts {
  static constexpr int kBits = kPackedBits;
  static constexpr int kCells = kDigits;
  static constexpr bool kHasUnits = kDigits > 1;
  static constexpr float unit(int plane) { return plane_unit<kBits>(plane); }
  using Weights = IVec;
  using Sum = IntSums;

  static IVec weights(IVec bytes, int plane) {
    return plane_codes<kBits>(bytes, plane);
  }
  static Sum none() { return ibroadcast(0); }
  static Vec value(Sum sum) { return to_float(sum); }

  template <int kM, int kVectors>
  QUANTO_INLINE static Sum add(Sum sum, const IVec (&w)[kVectors],
                               const int8_t* x) {
    IVec products = kDigits == 1 ? static_cast<IVec>(sum) : ibroadcast(0);
    unrolled<kDigits>([&](int i) QUANTO_INLINE_BODY {
      const int digit = kDigits - 1 - i;
      unrolled<kVectors>([&](int v) QUANTO_INLINE_BODY {
        products = dot4(products, w[v],
                        load_words(x + (v * kM * kCells + digit) * kVecBytes));
      });
      if (digit > 0) products = shift_left(products, 8);
    });
    return kDigits == 1 ? products : iadd(static_cast<IVec>(sum), products);
  }
};

}  // namespace
}  // namespace quanto::kernels
