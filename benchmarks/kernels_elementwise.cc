// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels_machine.h"
#include "kernels_turns.h"
#include "quanto/core/packing.h"
#include "quanto/formats/weight.h"
#include "quanto/kernels/cpu/dispatch.h"

// Kernels that move memory, on 1 GiB of bfloat16 and what is made of it. GB/s
// are of all bytes read and written. Their limit is a copy of as much memory,
// or reading it where next to nothing is written. "over_copy" is the time over
// that of copying 1 GiB, whatever is moved.

namespace quanto::bench {
namespace {

using kernels::KernelTable;
using kernels::ShiftKind;

constexpr auto kInput = static_cast<int64_t>(kNumbers);  // bytes
constexpr DType kDType = DType::kBFloat16;
constexpr int64_t kColumns = 4096;
constexpr int64_t kNumel = kInput / 2;
constexpr int64_t kRows = kNumel / kColumns;
constexpr int64_t kGroup = 128;
constexpr AxisView kView = {1, kRows, kColumns};
constexpr GroupLayout kGroups = {false, kRows, kColumns / kGroup, kGroup};
constexpr int64_t kScales = kGroups.rows() * 2;  // bytes
constexpr int kBits = 4;

/// Where every kernel reads and writes.
struct Memory {
  const std::byte* in = numbers();
  std::vector<std::byte> out = std::vector<std::byte>(kInput);
  std::vector<float> low = std::vector<float>(kGroups.rows());
  std::vector<float> high = std::vector<float>(kGroups.rows());
};

Memory& memory() {
  static Memory memory;
  return memory;
}

uint8_t* bytes_out() { return reinterpret_cast<uint8_t*>(memory().out.data()); }
const uint8_t* bytes_in() {
  return reinterpret_cast<const uint8_t*>(memory().in);
}

using Work = std::function<void(const KernelTable&, Executor&)>;

struct Case {
  const char* name;
  int64_t read;
  int64_t written;
  Work work;
};

void run(benchmark::State& state, const Case& what, Machine& machine) {
  using benchmark::Counter;
  const KernelTable& table = kernels::kernels();
  const bool reads = what.written < what.read / 8;
  memory();
  Samples copy;
  Samples read;
  const double seconds = time_in_turns(
      state, [&] { what.work(table, machine.executor()); },
      [&] {
        copy.add(machine.copy_gbs());
        read.add(reads ? machine.read_gbs() : 0);
      });
  const double limit = std::max(read.median(), 2 * copy.median());
  const double rate =
      1e-9 * static_cast<double>(what.read + what.written) / seconds;
  state.counters["GB/s"] = Counter(rate);
  state.counters["limit_GB/s"] = Counter(limit);
  state.counters["%limit"] = Counter(100 * rate / limit);
  state.counters["over_copy"] =
      Counter(seconds * copy.median() / (1e-9 * static_cast<double>(kInput)));
  state.SetLabel(fmt::format("{}, {}", table.isa, reads ? "read" : "copy"));
}

/// Scales, shifts and codes: what `quanto quantize` and the operators do.
Work quantize_weight(QTypeId type) {
  return [type, made = std::make_shared<std::vector<formats::NamedBuffer>>()](
             const KernelTable&, Executor& executor) {
    formats::WeightFacts facts;
    facts.qtype = type;
    const bool grouped = qtype(type).bits < 8;
    if (grouped) facts.group_size = kGroup;
    formats::quantize_weight(
        "w", {memory().in, kDType, kRows, kColumns}, facts,
        grouped ? formats::Optimizer::kMax : formats::Optimizer::kAbsmax, *made,
        executor);
  };
}

Work quantize_symmetric(DType storage) {
  return [storage](const KernelTable& table, Executor& executor) {
    table.quantize_symmetric(memory().in, kDType, kView, memory().in, storage,
                             bytes_out(), executor);
  };
}

Work dequantize_symmetric(DType storage) {
  return [storage](const KernelTable& table, Executor& executor) {
    table.dequantize_symmetric(memory().in, storage, kView, memory().in, kDType,
                               bytes_out(), executor);
  };
}

std::vector<Case> whole_weights() {
  return {{"weight_int8", kInput, kNumel + kRows * 2,
           quantize_weight(QTypeId::kQInt8)},
          {"weight_float8", kInput, kNumel + kRows * 2,
           quantize_weight(QTypeId::kQFloat8E4M3FN)},
          {"weight_int4", kInput, kNumel / 2 + 2 * kScales,
           quantize_weight(QTypeId::kQInt4)}};
}

std::vector<Case> symmetric_kernels() {
  return {{"absmax", kInput, kRows * 4,
           [](const KernelTable& table, Executor& executor) {
             table.absmax(memory().in, kDType, kView, memory().low.data(),
                          executor);
           }},
          {"quantize_int8", kInput + kRows * 2, kNumel,
           quantize_symmetric(DType::kInt8)},
          {"quantize_float8", kInput + kRows * 2, kNumel,
           quantize_symmetric(DType::kFloat8E4M3FN)},
          {"dequantize_int8", kNumel + kRows * 2, kInput,
           dequantize_symmetric(DType::kInt8)},
          {"dequantize_float8", kNumel + kRows * 2, kInput,
           dequantize_symmetric(DType::kFloat8E4M3FN)}};
}

std::vector<Case> affine_kernels() {
  return {{"min_max", kInput, kGroups.rows() * 8,
           [](const KernelTable& table, Executor& executor) {
             table.min_max(memory().in, kDType, kGroups, memory().low.data(),
                           memory().high.data(), executor);
           }},
          {"quantize_int4", kInput + 2 * kScales, kNumel,
           [](const KernelTable& table, Executor& executor) {
             table.quantize_affine(memory().in, kDType, kGroups, kBits,
                                   memory().in, memory().in, ShiftKind::kFloat,
                                   bytes_out(), executor);
           }},
          {"dequantize_int4", kNumel / 2 + 2 * kScales, kInput,
           [](const KernelTable& table, Executor& executor) {
             table.dequantize_affine(bytes_in(), kGroups, kBits, memory().in,
                                     memory().in, ShiftKind::kFloat, kDType,
                                     bytes_out(), executor);
           }},
          {"pack_int4", kNumel, kNumel / 2,
           [](const KernelTable& table, Executor& executor) {
             table.pack(bytes_in(), kGroups.rows(), kGroup, kBits, bytes_out(),
                        executor);
           }},
          {"unpack_int4", kNumel / 2, kNumel,
           [](const KernelTable& table, Executor& executor) {
             table.unpack(bytes_in(), kGroups.rows() / 2, kGroup, kBits,
                          bytes_out(), executor);
           }}};
}

}  // namespace

void register_elementwise(int threads) {
  for (const auto& list :
       {whole_weights(), symmetric_kernels(), affine_kernels()}) {
    for (const Case& what : list) {
      const std::string name =
          fmt::format("elementwise/{}/t{}", what.name, threads);
      benchmark::RegisterBenchmark(name.c_str(), [what, threads](
                                                     benchmark::State& state) {
        run(state, what, machine(threads));
      })->UseManualTime();
    }
  }
}

}  // namespace quanto::bench
