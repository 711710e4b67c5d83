// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/magnitude.h"
#include "quanto/kernels/cpu/tables.h"
#include "quanto/kernels/cpu/walk.h"

namespace quanto::kernels {
namespace {

/// Channels of the last axis that are reduced together, in a pass over rows:
/// enough that a row's part is worth its page, few enough that what was seen
/// stays in the first-level cache.
constexpr int64_t kTile = 1024;
/// Rows that are asked for ahead.
constexpr int64_t kRowsAhead = 2;

/// The channels of a view, each cut into `parts` of its elements so that every
/// thread finds work where channels are few. Results are [parts][channels].
struct Slices {
  AxisView view;
  int64_t parts;

  /// Channels of the last axis come in tiles.
  [[nodiscard]] bool tiled() const { return view.inner == 1; }
  [[nodiscard]] int64_t items() const {
    return tiled() ? (view.channels + kTile - 1) / kTile : view.channels;
  }
  [[nodiscard]] int64_t item_size() const {
    return size() * (tiled() ? kTile : 1);
  }
  [[nodiscard]] int64_t size() const { return view.outer * view.inner; }
  [[nodiscard]] int64_t start(int64_t part) const {
    return size() * part / parts;
  }
};

/// |x| at most over part of one channel.
template <DType kFloat>
[[gnu::flatten]] float slice_absmax(const void* base, const Slices& slices,
                                    int64_t channel, int64_t part) {
  const AxisView& view = slices.view;
  IVec largest = ibroadcast(0);
  for_each_piece(slices.start(part), slices.start(part + 1), view.inner,
                 [&](int64_t outer, int64_t inner, int64_t count) {
                   const int64_t row = outer * view.channels + channel;
                   const int64_t start = row * view.inner + inner;
                   for_each_vector(count, [&](int64_t i, auto lanes) {
                     look_ahead<size_of(kFloat)>(base, start + i);
                     const Vec x =
                         Element<kFloat>::load(base, start + i, lanes);
                     largest = imax(largest, magnitude_bits(x));
                   });
                 });
  return from_magnitude_bits(largest_lane(largest));
}

/// The same for a tile of channels that lie side by side.
template <DType kFloat>
[[gnu::flatten]] void tile_absmax(const void* base, const Slices& slices,
                                  int64_t channel, int64_t part,
                                  float* absmax) {
  using Float = Element<DType::kFloat32>;
  const int64_t channels = slices.view.channels;
  const int64_t count = smaller_of(kTile, channels - channel);
  alignas(64) float seen[kTile] = {};
  for (int64_t row = slices.start(part); row < slices.start(part + 1); ++row) {
    const int64_t start = row * channels + channel;
    for_each_vector(count, [&](int64_t i, auto lanes) {
      prefetch<size_of(kFloat)>(base, start + kRowsAhead * channels + i);
      const Vec x = Element<kFloat>::load(base, start + i, lanes);
      const IVec largest =
          imax(magnitude_bits(x), as_int(Float::load(seen, i, lanes)));
      Float::store(seen, i, as_float(largest), lanes);
    });
  }
  for (int64_t i = 0; i < count; ++i) {
    absmax[channel + i] = quiet(seen[i]);
  }
}

template <DType kFloat>
void absmax_slices(const void* base, const Slices& slices, float* absmax,
                   Executor& executor) {
  const int64_t items = slices.items();
  executor.parallel_for(
      items * slices.parts, grain_of(slices.item_size() / slices.parts),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t part = i / items;
          const int64_t item = i % items;
          float* result = absmax + part * slices.view.channels;
          if (slices.tiled()) {
            tile_absmax<kFloat>(base, slices, item * kTile, part, result);
          } else {
            result[item] = slice_absmax<kFloat>(base, slices, item, part);
          }
        }
      });
}

/// The largest of each column of [rows][columns], NaN if there is one.
void largest_of_rows(const float* values, int64_t rows, int64_t columns,
                     float* largest) {
  for (int64_t column = 0; column < columns; ++column) {
    int32_t bits = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const auto other =
          __builtin_bit_cast(int32_t, values[row * columns + column]);
      if (other > bits) bits = other;
    }
    largest[column] = from_magnitude_bits(bits);
  }
}

void absmax(const void* base, DType dtype, AxisView view, float* absmax,
            Executor& executor) {
  // One channel is one contiguous row, whatever its shape.
  if (view.channels == 1) view = {1, 1, view.numel()};
  Slices slices = {view, 1};
  const int64_t threads = executor.threads();
  if (slices.items() < threads && view.numel() > kGrain) {
    slices.parts = (threads + slices.items() - 1) / slices.items();
  }
  float* results = absmax;
  if (slices.parts > 1) {
    results = reinterpret_cast<float*>(executor.workspace(
        static_cast<size_t>(slices.parts * view.channels) * sizeof(float)));
  }
  with_float(dtype, [&](auto type) {
    absmax_slices<decltype(type)::value>(base, slices, results, executor);
  });
  if (slices.parts > 1) {
    largest_of_rows(results, slices.parts, view.channels, absmax);
  }
}

/// The smaller (or larger) of x and what was seen; NaN once one was seen.
inline Vec next_min(Vec x, Vec seen) {
  // The second operand comes out if either is NaN.
  return select(is_nan(x), x, min(x, seen));
}
inline Vec next_max(Vec x, Vec seen) {
  return select(is_nan(x), x, max(x, seen));
}

inline Vec keep(Vec x, Vec /*other*/, All /*lanes*/) { return x; }
/// x in the lanes that were loaded, `other` elsewhere.
inline Vec keep(Vec x, Vec other, Some lanes) {
  return select(first_lanes(lanes.count), x, other);
}

/// One contiguous row.
template <DType kFloat>
[[gnu::flatten]] void row_min_max(const void* base, int64_t start,
                                  int64_t count, float* min_out,
                                  float* max_out) {
  using E = Element<kFloat>;
  if (count == 0) {
    *min_out = *max_out = 0;
    return;
  }
  // Lanes past the end repeat the first element.
  const Vec first = broadcast_first(E::load(base, start, Some{1}));
  Vec lowest = first;
  Vec highest = first;
  for_each_vector(count, [&](int64_t i, auto lanes) {
    look_ahead<size_of(kFloat)>(base, start + i);
    const Vec x = keep(E::load(base, start + i, lanes), first, lanes);
    lowest = next_min(x, lowest);
    highest = next_max(x, highest);
  });
  const bool nan = any_nan(lowest);
  *min_out = nan ? kNan : reduce_min(lowest);
  *max_out = nan ? kNan : reduce_max(highest);
}

/// Channels of a tile, fewer where there would be fewer tiles than threads.
int64_t tile_of(int64_t channels, int64_t threads) {
  constexpr int64_t kLeast = 128;
  const int64_t share = channels / threads / kLeast * kLeast;
  return larger_of(kLeast, smaller_of(kTile, share));
}

/// One group of `count` channels that lie side by side.
template <DType kFloat>
[[gnu::flatten]] void tile_min_max(const void* base, const GroupLayout& layout,
                                   int64_t channel, int64_t count,
                                   int64_t group, float* min_out,
                                   float* max_out) {
  using E = Element<kFloat>;
  using Float = Element<DType::kFloat32>;
  const int64_t row = channel * layout.groups + group;
  alignas(64) float lowest[kTile] = {};
  alignas(64) float highest[kTile] = {};
  for (int64_t item = 0; item < layout.group_size; ++item) {
    const int64_t start = layout.base_index(row, item);
    for_each_vector(count, [&](int64_t i, auto lanes) {
      prefetch<size_of(kFloat)>(base, start + kRowsAhead * layout.channels + i);
      const Vec x = E::load(base, start + i, lanes);
      const Vec low = item == 0 ? x : Float::load(lowest, i, lanes);
      const Vec high = item == 0 ? x : Float::load(highest, i, lanes);
      Float::store(lowest, i, next_min(x, low), lanes);
      Float::store(highest, i, next_max(x, high), lanes);
    });
  }
  for (int64_t i = 0; i < count; ++i) {
    min_out[row + i * layout.groups] = quiet(lowest[i]);
    max_out[row + i * layout.groups] = quiet(highest[i]);
  }
}

void min_max(const void* base, DType dtype, GroupLayout layout, float* min_out,
             float* max_out, Executor& executor) {
  // Rows (or tiles of channels) are the unit of threading: an affine weight
  // has at least one row per output.
  const int64_t tile = tile_of(layout.channels, executor.threads());
  const int64_t tiles = (layout.channels + tile - 1) / tile;
  const int64_t items =
      layout.last_axis ? tiles * layout.groups : layout.rows();
  const int64_t size = layout.group_size * (layout.last_axis ? tile : 1);
  with_float(dtype, [&](auto type) {
    constexpr DType kFloat = decltype(type)::value;
    executor.parallel_for(
        items, grain_of(size), [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            if (layout.last_axis) {
              const int64_t channel = i / layout.groups * tile;
              tile_min_max<kFloat>(base, layout, channel,
                                   smaller_of(tile, layout.channels - channel),
                                   i % layout.groups, min_out, max_out);
            } else {
              row_min_max<kFloat>(base, i * layout.group_size,
                                  layout.group_size, min_out + i, max_out + i);
            }
          }
        });
  });
}

}  // namespace

ReduceTable QUANTO_FOR_ISA(reduce)() { return {absmax, min_max}; }

}  // namespace quanto::kernels
