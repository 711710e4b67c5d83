// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/transpose.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace quanto::ops {
namespace {

/// A vector of 16 bytes.
template <typename Element>
struct Lanes {
  using Vector [[gnu::vector_size(16)]] = Element;
};

/// Lanes of the first (kHigh: second) halves of a and b in turns.
template <bool kHigh, typename Vector, size_t... kIndex>
Vector zip(Vector a, Vector b, std::index_sequence<kIndex...>) {
  constexpr size_t kLanes = sizeof...(kIndex);
  return __builtin_shufflevector(
      a, b, (kHigh * kLanes / 2 + kIndex / 2 + kIndex % 2 * kLanes)...);
}

/// A square block of as many rows as a vector has lanes: after log2(lanes)
/// rounds of zipping row i with row i + lanes / 2, row i is column i.
template <typename Element>
void transpose_block(const Element* rows, int64_t row_stride,
                     int64_t column_stride, Element* columns) {
  constexpr size_t kLanes = 16 / sizeof(Element);
  using Vector = typename Lanes<Element>::Vector;
  constexpr auto kIndex = std::make_index_sequence<kLanes>();
  std::array<Vector, kLanes> block, zipped;
  for (size_t i = 0; i < kLanes; ++i) {
    std::memcpy(&block[i], rows + static_cast<int64_t>(i) * row_stride, 16);
  }
  for (size_t round = 1; round < kLanes; round *= 2) {
    for (size_t i = 0; i < kLanes / 2; ++i) {
      const Vector a = block[i], b = block[i + kLanes / 2];
      zipped[2 * i] = zip<false>(a, b, kIndex);
      zipped[2 * i + 1] = zip<true>(a, b, kIndex);
    }
    block = zipped;
  }
  for (size_t i = 0; i < kLanes; ++i) {
    std::memcpy(columns + static_cast<int64_t>(i) * column_stride, &block[i],
                16);
  }
}

template <typename Element>
void transpose(const Element* rows, int64_t pixels, int64_t outputs,
               int64_t stride, Element* planes) {
  constexpr int64_t kLanes = 16 / sizeof(Element);
  const int64_t whole_outputs = outputs / kLanes * kLanes;
  const int64_t whole_pixels = pixels / kLanes * kLanes;
  // The outputs of a cache line of rows at a time: their planes, often a power
  // of two apart, would push one another out of the cache if they were many.
  constexpr int64_t kLine = 4 * kLanes;
  for (int64_t line = 0; line < whole_outputs; line += kLine) {
    const int64_t last = std::min(whole_outputs, line + kLine);
    for (int64_t p = 0; p < whole_pixels; p += kLanes) {
      for (int64_t o = line; o < last; o += kLanes) {
        transpose_block(rows + p * outputs + o, outputs, stride,
                        planes + o * stride + p);
      }
    }
  }
  const auto rest = [&](int64_t first_output, int64_t first_pixel,
                        int64_t last_pixel) {
    for (int64_t o = first_output; o < outputs; ++o) {
      for (int64_t p = first_pixel; p < last_pixel; ++p) {
        planes[o * stride + p] = rows[p * outputs + o];
      }
    }
  };
  rest(whole_outputs, 0, whole_pixels);
  rest(0, whole_pixels, pixels);
}

}  // namespace

void transpose_into_planes(const std::byte* rows, int64_t pixels,
                           int64_t outputs, int64_t element_size,
                           int64_t stride, std::byte* planes) {
  const auto run = [&](auto element) {
    using Element = decltype(element);
    transpose(reinterpret_cast<const Element*>(rows), pixels, outputs, stride,
              reinterpret_cast<Element*>(planes));
  };
  if (element_size == 1) return run(uint8_t{});
  if (element_size == 2) return run(uint16_t{});
  run(uint32_t{});
}

}  // namespace quanto::ops
