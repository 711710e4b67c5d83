// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/conv2d_patches.h"

#include <algorithm>
#include <cstring>

namespace quanto::ops {
namespace {

/// The widest copy of a run, which may read as far past the end of a window.
constexpr int64_t kWidestCopy = 32;
/// Bytes of a window or of patches that are worth a thread.
constexpr int64_t kBytesOfThread = 1 << 15;

int64_t grain_of(int64_t bytes_of_one) {
  return std::max<int64_t>(1,
                           kBytesOfThread / std::max<int64_t>(bytes_of_one, 1));
}

/// Copies `count` runs of `bytes` <= kWidth one after another. Each copy but
/// the last writes kWidth bytes, of which the next run overwrites the surplus:
/// copies of a fixed width are single instructions.
template <int kWidth>
void copy_runs(const std::byte* from, const int64_t* offsets, int64_t count,
               int64_t bytes, std::byte* to) {
  // Two instructions a run: the loop's own would be as many again.
#pragma GCC unroll 8
  for (int64_t i = 0; i + 1 < count; ++i) {
    std::memcpy(to, from + offsets[i], kWidth);
    to += bytes;
  }
  std::memcpy(to, from + offsets[count - 1], static_cast<size_t>(bytes));
}

void copy_long_runs(const std::byte* from, const int64_t* offsets,
                    int64_t count, int64_t bytes, std::byte* to) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to, from + offsets[i], static_cast<size_t>(bytes));
    to += bytes;
  }
}

auto copy_of(int64_t bytes) {
  if (bytes <= 1) return copy_runs<1>;
  if (bytes <= 2) return copy_runs<2>;
  if (bytes <= 4) return copy_runs<4>;
  if (bytes <= 8) return copy_runs<8>;
  if (bytes <= 16) return copy_runs<16>;
  if (bytes <= kWidestCopy) return copy_runs<kWidestCopy>;
  return copy_long_runs;
}

}  // namespace

Patches::Patches(const ConvGeometry& conv, int64_t element_size)
    : conv_(conv),
      element_size_(element_size),
      row_bytes_((conv.input.x + 2 * conv.padding.x) * element_size),
      run_bytes_((conv.dilation.x == 1 ? conv.kernel.x : 1) * element_size),
      runs_of_row_(conv.dilation.x == 1 ? 1 : conv.kernel.x),
      copy_(copy_of(run_bytes_)) {}

int64_t Patches::window_rows(int64_t begin, int64_t end) const {
  const int64_t rows = (end - 1) / conv_.output.x - begin / conv_.output.x + 1;
  return (rows - 1) * conv_.stride.y + (conv_.kernel.y - 1) * conv_.dilation.y +
         1;
}

int64_t Patches::window_bytes(int64_t pixels) const {
  const int64_t rows =
      std::min(conv_.output.y, (pixels - 1) / conv_.output.x + 2);
  return window_rows(0, rows * conv_.output.x) * row_bytes_ *
             conv_.group_channels() +
         kWidestCopy;
}

void Patches::fill_window(const std::byte* planes, int64_t begin, int64_t rows,
                          std::byte* window, Executor& executor) const {
  const int64_t first =
      begin / conv_.output.x * conv_.stride.y - conv_.padding.y;
  const int64_t image_row = conv_.input.x * element_size_;
  const int64_t border = conv_.padding.x * element_size_;
  const auto fill_row = [&](int64_t channel, int64_t row) {
    std::byte* to = window + (channel * rows + row) * row_bytes_;
    const int64_t y = first + row;
    if (y < 0 || y >= conv_.input.y) {
      std::memset(to, 0, static_cast<size_t>(row_bytes_));
      return;
    }
    std::memset(to, 0, static_cast<size_t>(border));
    std::memcpy(to + border, planes + (channel * conv_.input.y + y) * image_row,
                static_cast<size_t>(image_row));
    std::memset(to + border + image_row, 0, static_cast<size_t>(border));
  };
  executor.parallel_for(conv_.group_channels(), grain_of(rows * row_bytes_),
                        [&](int64_t from, int64_t to) {
                          for (int64_t c = from; c < to; ++c) {
                            for (int64_t r = 0; r < rows; ++r) fill_row(c, r);
                          }
                        });
}

std::vector<int64_t> Patches::run_offsets(int64_t rows) const {
  std::vector<int64_t> offsets;
  offsets.reserve(static_cast<size_t>(conv_.group_channels() * conv_.kernel.y *
                                      runs_of_row_));
  for (int64_t c = 0; c < conv_.group_channels(); ++c) {
    for (int64_t y = 0; y < conv_.kernel.y; ++y) {
      for (int64_t x = 0; x < runs_of_row_; ++x) {
        offsets.push_back((c * rows + y * conv_.dilation.y) * row_bytes_ +
                          x * conv_.dilation.x * element_size_);
      }
    }
  }
  return offsets;
}

void Patches::write(const std::byte* planes, int64_t begin, int64_t end,
                    std::byte* window, std::byte* patches,
                    Executor& executor) const {
  const int64_t rows = window_rows(begin, end);
  fill_window(planes, begin, rows, window, executor);
  const std::vector<int64_t> offsets = run_offsets(rows);
  const auto count = static_cast<int64_t>(offsets.size());
  const int64_t patch_bytes = conv_.elements() * element_size_;
  const int64_t first_row = begin / conv_.output.x;
  executor.parallel_for(
      end - begin, grain_of(patch_bytes), [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i) {
          const int64_t pixel = begin + i;
          const int64_t y = pixel / conv_.output.x - first_row;
          const int64_t x = pixel % conv_.output.x;
          copy_(window + y * conv_.stride.y * row_bytes_ +
                    x * conv_.stride.x * element_size_,
                offsets.data(), count, run_bytes_, patches + i * patch_bytes);
        }
      });
}

}  // namespace quanto::ops
