// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/core/executor.h"
#include "quanto/core/grouping.h"
#include "quanto/kernels/cpu/element.h"

// How the elementwise kernels go through contiguous memory: in pieces of a row
// that have one scale, or one scale per column. Threads share elements rather
// than rows, so that a single long row is shared too.

namespace quanto::kernels {
namespace {

/// Elements below which another thread does not pay.
constexpr int64_t kGrain = 16384;
/// Longest piece: its codes stay in the first-level cache.
constexpr int64_t kLongestPiece = 4096;

constexpr int64_t smaller_of(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger_of(int64_t a, int64_t b) { return a > b ? a : b; }

/// The grain of a parallel_for over items of `size` elements.
constexpr int64_t grain_of(int64_t size) {
  return larger_of(1, kGrain / larger_of(1, size));
}

/// Asks for the line of element `index` of the elements of `kBytes` at `data`.
/// Past the end nothing happens.
template <int kBytes>
inline void prefetch(const void* data, int64_t index) {
  __builtin_prefetch(
      reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(data) +
                                    static_cast<uintptr_t>(index * kBytes)));
}

/// How far ahead of a load its line is asked for: a page, since hardware that
/// looks ahead stops at the end of one.
constexpr int64_t kBytesAhead = 4096;

/// Asks for what lies kBytesAhead behind an element.
template <int kBytes>
inline void look_ahead(const void* data, int64_t index) {
  prefetch<kBytes>(data, index + kBytesAhead / kBytes);
}

/// Calls f(row, column, count) for pieces of rows of `width` elements that
/// make up [begin, end).
template <typename F>
inline void for_each_piece(int64_t begin, int64_t end, int64_t width, F f) {
  if (begin == end) return;
  int64_t row = begin / width;
  int64_t column = begin % width;
  while (begin < end) {
    const int64_t count =
        smaller_of(smaller_of(width - column, end - begin), kLongestPiece);
    f(row, column, count);
    begin += count;
    column += count;
    if (column == width) {
      column = 0;
      ++row;
    }
  }
}

/// The scale of a piece is the one at an index, or those from an index on.
struct OneScale {
  int64_t index;
};
struct ScalePerColumn {
  int64_t index;
};

/// The channel of a row of `view`. Few views need the division.
constexpr int64_t channel_of(const AxisView& view, int64_t row) {
  return row < view.channels ? row : row % view.channels;
}

/// Calls f(index, count, scale) for pieces of all elements of `view`, in
/// parallel.
template <typename F>
inline void for_each_scaled_piece(AxisView view, Executor& executor, F f) {
  const bool columns = view.inner == 1 && view.channels > 1;
  const int64_t width = columns              ? view.channels
                        : view.channels == 1 ? view.numel()
                                             : view.inner;
  // One function, f included: pieces may be short.
  const auto pieces = [=](int64_t begin, int64_t end) __attribute__((flatten)) {
    for_each_piece(begin, end, width,
                   [&](int64_t row, int64_t column, int64_t count) {
                     const int64_t index = row * width + column;
                     if (columns) {
                       f(index, count, ScalePerColumn{column});
                     } else {
                       f(index, count, OneScale{channel_of(view, row)});
                     }
                   });
  };
  executor.parallel_for(view.numel(), kGrain, pieces);
}

/// Calls run(at), where at(i, lanes) gives load(index, lanes) of a piece's
/// scale for its elements from i on.
template <typename Load, typename Run>
inline void with_scale(OneScale scale, Load load, Run run) {
  const auto one = load(scale.index, Same{});
  run([one](int64_t /*i*/, auto /*lanes*/) { return one; });
}
template <typename Load, typename Run>
inline void with_scale(ScalePerColumn scale, Load load, Run run) {
  run([&](int64_t i, auto lanes) { return load(scale.index + i, lanes); });
}

/// One item of every group of some channels of a last-axis weight in groups.
/// Code matrix, scales and shifts have them side by side, channel by channel;
/// the base has the channels side by side, group by group.
struct TransposedPiece {
  int64_t item;
  int64_t channel;
  int64_t channels;
};

/// Calls f(piece) for all pieces, in parallel.
template <typename F>
inline void for_each_transposed_piece(const GroupLayout& layout,
                                      Executor& executor, F f) {
  const int64_t step = larger_of(1, kLongestPiece / layout.groups);
  const int64_t tiles = (layout.channels + step - 1) / step;
  executor.parallel_for(
      layout.group_size * tiles, grain_of(step * layout.groups),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t channel = i % tiles * step;
          f(TransposedPiece{i / tiles, channel,
                            smaller_of(step, layout.channels - channel)});
        }
      });
}

/// Copies a piece from the base to `rows`, [channels][groups], where kToRows,
/// and back where not.
template <int kBytes, bool kToRows>
inline void transpose(const GroupLayout& layout, const TransposedPiece& piece,
                      const char* from, char* to) {
  for (int64_t group = 0; group < layout.groups; ++group) {
    const int64_t row = piece.channel * layout.groups + group;
    const int64_t base = layout.base_index(row, piece.item) * kBytes;
    for (int64_t i = 0; i < piece.channels; ++i) {
      const int64_t in_base = base + i * kBytes;
      const int64_t in_rows = (i * layout.groups + group) * kBytes;
      __builtin_memcpy(to + (kToRows ? in_rows : in_base),
                       from + (kToRows ? in_base : in_rows), kBytes);
    }
  }
}

}  // namespace
}  // namespace quanto::kernels
