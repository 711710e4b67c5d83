// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/order.h"
#include "quanto/kernels/cpu/tables.h"

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

/// Where keys are kept from row to row of a tile.
template <DType kFloat>
struct Seen {
  alignas(64) Key<kFloat> keys[kTile];
};

/// Folds `row` into what was seen, place by place.
template <DType kFloat, typename Bits, typename Fold>
inline void fold_into(Seen<kFloat>& seen, int64_t place, Bits row, Fold fold) {
  const auto both = fold(load_bits<Bits>(seen.keys + place), row);
  __builtin_memcpy(seen.keys + place, &both, sizeof(both));
}

/// |x| at most over part of one channel.
template <DType kFloat>
[[gnu::flatten]] float slice_absmax(const void* base, const Slices& slices,
                                    int64_t channel, int64_t part) {
  const AxisView& view = slices.view;
  typename Keys<kFloat>::Lanes largest{};
  for_each_piece(slices.start(part), slices.start(part + 1), view.inner,
                 [&](int64_t outer, int64_t inner, int64_t count) {
                   const int64_t row = outer * view.channels + channel;
                   fold_magnitudes<kFloat>(base, row * view.inner + inner,
                                           count, largest);
                 });
  return largest_magnitude<kFloat>(largest);
}

/// The same for a tile of channels that lie side by side.
template <DType kFloat>
[[gnu::flatten]] void tile_absmax(const void* base, const Slices& slices,
                                  int64_t channel, int64_t part,
                                  float* absmax) {
  const int64_t channels = slices.view.channels;
  const int64_t count = smaller_of(kTile, channels - channel);
  Seen<kFloat> seen = {};
  for (int64_t row = slices.start(part); row < slices.start(part + 1); ++row) {
    const int64_t start = row * channels + channel;
    for_each_place<kFloat>(count, [&](int64_t i, auto place) {
      prefetch<size_of(kFloat)>(base, start + kRowsAhead * channels + i);
      using Bits = decltype(place);
      const auto bits = load_bits<Bits>(key_at<kFloat>(base, start + i));
      fold_into(seen, i, magnitude<kFloat>(bits),
                [](Bits a, Bits b) { return larger_key(a, b); });
    });
  }
  for (int64_t i = 0; i < count; ++i) {
    absmax[channel + i] = value_of<kFloat>(seen.keys[i]);
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
    int32_t key = 0;
    for (int64_t row = 0; row < rows; ++row) {
      key =
          larger_key(key, load_bits<int32_t>(values + row * columns + column));
    }
    largest[column] = value_of<DType::kFloat32>(key);
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

/// From keys; NaN, which lies beyond either end, makes both NaN.
template <DType kFloat>
inline void store_range(Key<kFloat> lowest, Key<kFloat> highest, float* min_out,
                        float* max_out) {
  const float low = value_of<kFloat>(lowest);
  const float high = value_of<kFloat>(highest);
  const bool nan = low != low || high != high;
  *min_out = nan ? kNan : low;
  *max_out = nan ? kNan : high;
}

/// One contiguous row.
template <DType kFloat>
[[gnu::flatten]] void row_min_max(const void* base, int64_t start,
                                  int64_t count, float* min_out,
                                  float* max_out) {
  if (count == 0) {
    *min_out = *max_out = 0;
    return;
  }
  using Lanes = typename Keys<kFloat>::Lanes;
  const auto smaller = [](auto a, auto b) { return smaller_key(a, b); };
  const auto larger = [](auto a, auto b) { return larger_key(a, b); };
  Lanes lowest = Lanes{} + kMagnitude<kFloat>;
  Lanes highest = ~lowest;
  for_each_bits<kFloat>(base, start, count, [&](Lanes bits) {
    const Lanes keys = in_order<kFloat>(bits);
    lowest = smaller(lowest, keys);
    highest = larger(highest, keys);
  });
  store_range<kFloat>(fold_lanes(lowest, smaller), fold_lanes(highest, larger),
                      min_out, max_out);
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
  const int64_t row = channel * layout.groups + group;
  Seen<kFloat> lowest;
  Seen<kFloat> highest;
  for (int64_t i = 0; i < count; ++i) {
    // Zero where a group has no element.
    const char* first = key_at<kFloat>(base, layout.base_index(row, 0) + i);
    const Key<kFloat> key =
        layout.group_size == 0
            ? Key<kFloat>{0}
            : in_order<kFloat>(load_bits<Key<kFloat>>(first));
    lowest.keys[i] = highest.keys[i] = key;
  }
  for (int64_t item = 1; item < layout.group_size; ++item) {
    const int64_t start = layout.base_index(row, item);
    for_each_place<kFloat>(count, [&](int64_t i, auto place) {
      prefetch<size_of(kFloat)>(base, start + kRowsAhead * layout.channels + i);
      using Bits = decltype(place);
      const Bits keys =
          in_order<kFloat>(load_bits<Bits>(key_at<kFloat>(base, start + i)));
      fold_into(lowest, i, keys,
                [](Bits a, Bits b) { return smaller_key(a, b); });
      fold_into(highest, i, keys,
                [](Bits a, Bits b) { return larger_key(a, b); });
    });
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t out = row + i * layout.groups;
    store_range<kFloat>(lowest.keys[i], highest.keys[i], min_out + out,
                        max_out + out);
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
