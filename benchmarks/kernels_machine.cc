// SPDX-License-Identifier: Apache-2.0
#include "kernels_machine.h"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <vector>

namespace quanto::bench {
namespace {

constexpr int kParts = 8;  // a measurement of memory takes one of them

/// bfloat16 of 0x3f.., float8 without infinities and NaN.
void fill(std::byte* data, size_t bytes) {
  uint64_t state = 1;
  for (size_t i = 0; i < bytes; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const auto random = static_cast<uint8_t>(state >> 56U);
    data[i] = std::byte{static_cast<uint8_t>(
        i % 2 == 0 ? random & 0x37U : 0x3fU | (random & 0x80U))};
  }
}

struct Free {
  void operator()(std::byte* data) const { std::free(data); }
};

bool may_issue(std::string_view isa, std::string_view instruction) {
  const bool wide = isa.starts_with("avx512") || isa.starts_with("amx");
  if (isa == "ref") return false;
  if (instruction.starts_with("td")) return isa.starts_with("amx");
  if (instruction.starts_with("vdpbf16ps"))
    return wide && isa.find("bf16") != isa.npos;
  if (instruction.ends_with("zmm")) return wide;
  if (instruction == "vpdpbusd ymm") return wide || isa == "avx_vnni";
  return true;
}

bool may_multiply(const limits::Compute& compute, DType input, QTypeId weight) {
  const std::string_view dtype = compute.dtype;
  if (input != DType::kInt8) {
    return dtype == "fp32" || (dtype == "bf16" && input == DType::kBFloat16);
  }
  // Sums of two products of 8 bits pass the 16 bits of vpmaddubsw.
  const bool narrow =
      std::string_view(compute.instruction).starts_with("vpmaddubsw");
  return dtype == "int8" && (!narrow || qtype(weight).bits < 8);
}

}  // namespace

size_t cold_bytes() {
  constexpr long kLeast = 256L << 20;
  const long cache = ::sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0: not known
  return static_cast<size_t>(std::max(2 * cache, kLeast));
}

size_t warm_bytes() {
  constexpr long kUnknown = 1L << 20;
  const long cache = ::sysconf(_SC_LEVEL2_CACHE_SIZE);
  return static_cast<size_t>(cache > 0 ? cache : kUnknown) / 2;
}

const std::byte* numbers() {
  static const auto data = [] {
    constexpr size_t kPiece = size_t{1} << 20;
    const size_t pieces = (cold_bytes() + kNumbers) / kPiece + 1;
    std::unique_ptr<std::byte, Free> bytes(
        static_cast<std::byte*>(std::aligned_alloc(kPiece, pieces * kPiece)));
    if (bytes == nullptr) throw std::bad_alloc();
    fill(bytes.get(), kPiece);
    for (size_t i = 1; i < pieces; ++i) {
      std::memcpy(bytes.get() + i * kPiece, bytes.get(), kPiece);
    }
    return bytes;
  }();
  return data.get();
}

const limits::Compute* best_compute(std::string_view isa, DType input,
                                    QTypeId weight) {
  struct Rated {
    limits::Compute compute;
    double gops;
  };
  // Which of two is faster does not change: one look at each will do.
  static const auto rated = [] {
    std::vector<Rated> found;
    for (const auto& compute : limits::available_computes()) {
      found.push_back({compute, limits::measure_compute(compute, 1, 1e9)});
    }
    return found;
  }();
  const Rated* best = nullptr;
  for (const Rated& next : rated) {
    if (may_issue(isa, next.compute.instruction) &&
        may_multiply(next.compute, input, weight) &&
        (best == nullptr || next.gops > best->gops)) {
      best = &next;
    }
  }
  return best == nullptr ? nullptr : &best->compute;
}

Machine::Machine(int threads)
    : threads_(threads),
      executor_(threads),
      memory_(cold_bytes(), threads, kParts),
      cache_(warm_bytes(), threads, 1) {}

double Machine::cache_gbs() {
  // So often that the first time, from further away, does not count.
  constexpr int kTimes = 256;
  return cache_.read_gbs(kTimes);
}

double Machine::gops(const limits::Compute& compute) {
  constexpr double kSeconds = 5e-3;  // long beside the start of the threads
  double& guess = gops_.try_emplace(compute.instruction, 10.0).first->second;
  guess = limits::measure_compute(compute, threads_,
                                  1e9 * kSeconds * guess / threads_);
  return guess;
}

Machine& machine(int threads) {
  static std::map<int, Machine> machines;
  return machines.try_emplace(threads, threads).first->second;
}

}  // namespace quanto::bench
