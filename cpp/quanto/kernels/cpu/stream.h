// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/walk.h"

// Results larger than a cache go past it: a plain store to a line that is in no
// cache reads the line first, which costs as much as writing it.

namespace quanto::kernels {
namespace {

/// Bytes of a result of which little is in a cache when it is read next.
constexpr int64_t kStreamedBytes = int64_t{64} << 20;

/// Copies past the caches where the machine can, whole lines at least.
inline void stream(std::byte* to, const std::byte* from, int64_t bytes) {
  constexpr int64_t kLine = 64;
  const auto misplaced =
      static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % kLine);
  const int64_t head = smaller_of(bytes, (kLine - misplaced) % kLine);
  const int64_t lines = (bytes - head) / kLine * kLine;
  const auto plain = [&](int64_t begin, int64_t end) {
    __builtin_memcpy(to + begin, from + begin,
                     static_cast<size_t>(end - begin));
  };
  plain(0, head);
#ifdef __x86_64__
  for (int64_t i = head; i < head + lines; i += 32) {
    const auto* source = reinterpret_cast<const __m256i*>(from + i);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i),
                        _mm256_loadu_si256(source));
  }
  // Before anyone is told that the result is there.
  _mm_sfence();
#else
  plain(head, head + lines);
#endif
  plain(head + lines, bytes);
}

/// A result of `kBytes` an element.
template <int64_t kBytes>
struct Result {
  void* data;
  bool streamed;

  Result(void* data, int64_t numel)
      : data(data), streamed(numel * kBytes >= kStreamedBytes) {}

  /// Calls write(out) where `out` stands for the elements [begin, end), at most
  /// kLongestPiece: their place, or memory that is copied to it.
  template <typename Write>
  void write(int64_t begin, int64_t end, Write write) const {
    auto* place = static_cast<std::byte*>(data) + begin * kBytes;
    if (!streamed) return write(place);
    alignas(64) std::byte piece[kLongestPiece * kBytes];
    write(piece);
    stream(place, piece, (end - begin) * kBytes);
  }
};

/// Calls f(begin, end) for blocks of [begin, end) that a Result takes.
template <typename F>
inline void for_each_block(int64_t begin, int64_t end, F f) {
  for (; begin < end; begin += kLongestPiece) {
    f(begin, smaller_of(end, begin + kLongestPiece));
  }
}

/// Calls f(index, count, scale, out) for pieces of all elements of `view`, in
/// parallel; `out` is where the piece's first element goes.
template <int64_t kBytes, typename F>
inline void for_each_scaled_piece(AxisView view, Result<kBytes> result,
                                  Executor& executor, F f) {
  const bool columns = view.inner == 1 && view.channels > 1;
  const int64_t width = columns              ? view.channels
                        : view.channels == 1 ? view.numel()
                                             : view.inner;
  const auto block = [&](int64_t begin, int64_t end) {
    result.write(begin, end, [&](std::byte* out) {
      for_each_piece(
          begin, end, width, [&](int64_t row, int64_t column, int64_t count) {
            const int64_t index = row * width + column;
            std::byte* piece = out + (index - begin) * kBytes;
            if (columns) {
              f(index, count, ScalePerColumn{column}, piece);
            } else {
              f(index, count, OneScale{channel_of(view, row)}, piece);
            }
          });
    });
  };
  executor.parallel_for(view.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for_each_block(begin, end, block);
  });
}

}  // namespace
}  // namespace quanto::kernels
