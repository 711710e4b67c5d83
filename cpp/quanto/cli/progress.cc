// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace quanto::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::chrono::seconds kPlainLine{10};
constexpr int kBar = 24;

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::string bytes_text(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes)
                   : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

Progress::Progress(uint64_t total_bytes)
    : total_(total_bytes), terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) std::fputc('\n', stderr);
}

void Progress::add(uint64_t bytes) {
  done_ += bytes;
  const auto now = Clock::now();
  const Clock::duration wait =
      terminal_ ? Clock::duration(kRedraw) : Clock::duration(kPlainLine);
  if (now - shown_ >= wait) show(now);
}

void Progress::finish() {
  const double time = std::max(seconds(Clock::now() - start_), 1e-9);
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
  const auto rate = static_cast<uint64_t>(static_cast<double>(done_) / time);
  fmt::print(stderr, "{} in {:.1f} s, {}/s\n", bytes_text(done_), time,
             bytes_text(rate));
}

void Progress::show(Clock::time_point now) {
  if (done_ == 0) return;  // tensors without elements: no rate, no time left
  shown_ = now;
  const double time = seconds(now - start_);
  const double share = static_cast<double>(done_) / static_cast<double>(total_);
  const auto rate = static_cast<uint64_t>(static_cast<double>(done_) / time);
  const auto left = static_cast<int64_t>(time / share * (1 - share));
  const std::string numbers =
      fmt::format("{:3.0f}% of {}, {}/s, {}:{:02} left", 100 * share,
                  bytes_text(total_), bytes_text(rate), left / 60, left % 60);
  if (!terminal_) {
    fmt::print(stderr, "{}\n", numbers);
    return;
  }
  const auto filled = static_cast<size_t>(share * kBar);
  fmt::print(stderr, "\r\033[K[{:<{}}] {}", std::string(filled, '#'), kBar,
             numbers);
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace quanto::cli
