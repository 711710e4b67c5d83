// SPDX-License-Identifier: Apache-2.0
//
//   quanto_quantize_bench MIB ROUNDS THREADS [PART]
//
// The kernels that quantize and dequantize beside a copy: each on a float
// tensor of MIB, in turns with a memcpy of MIB by as many threads. Only those
// with PART in their name. Prints the least milliseconds of ROUNDS of both,
// their ratio, and the share of the copy's bytes a second (read and written)
// that the kernel moves; then ratio and share of processor time.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "quanto/core/packing.h"
#include "quanto/formats/weight.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/rounding.h"

namespace {

using namespace quanto;
using kernels::ShiftKind;

/// Of a weight's row and of its groups.
constexpr int64_t kColumns = 4096;
constexpr int64_t kGroup = 128;

/// What all kernels of one dtype work on; every page is mapped.
struct Tensors {
  Tensors(DType type, int64_t bytes)
      : dtype(type),
        rows(bytes / size_of(type) / kColumns),
        floats(static_cast<size_t>(rows * kColumns * size_of(type))),
        other(floats.size()),
        scales(static_cast<size_t>(rows * kColumns / kGroup + kColumns) * 4),
        shifts(scales.size()) {
    const size_t row = kColumns * static_cast<size_t>(size_of(type));
    uint32_t state = 1;
    for (int64_t i = 0; i < kColumns; ++i) {
      state = state * 1664525U + 1013904223U;
      const auto value = static_cast<float>(state >> 8) * 0x1p-23F - 1.0F;
      scale::store(floats.data(), dtype, i, value);
    }
    for (size_t i = row; i < floats.size(); ++i) floats[i] = floats[i - row];
    for (int64_t i = 0; i < static_cast<int64_t>(scales.size()) / 4; ++i) {
      scale::store(scales.data(), dtype, i, 0.0117F);
      scale::store(shifts.data(), dtype, i, 1.01F);
    }
  }

  DType dtype;
  int64_t rows;
  std::vector<std::byte> floats, other, scales, shifts;
};

struct Case {
  std::string name;
  double bytes;  ///< read and written, for each of the float tensor's elements
  std::function<void()> run;
};

/// The least of several runs: of the clock, and of all threads' processor time,
/// which what else runs on the machine disturbs less.
struct Spent {
  double seconds = 1e30;
  double cpu_seconds = 1e30;

  void run(const std::function<void()>& work) {
    const std::clock_t cpu = std::clock();
    const auto start = std::chrono::steady_clock::now();
    work();
    const auto time = std::chrono::steady_clock::now() - start;
    const auto spent = static_cast<double>(std::clock() - cpu);
    seconds = std::min(seconds, std::chrono::duration<double>(time).count());
    cpu_seconds = std::min(cpu_seconds, spent / CLOCKS_PER_SEC);
  }
};

void copy(Tensors& tensors, Executor& executor) {
  const auto size = static_cast<int64_t>(tensors.floats.size());
  executor.parallel_for(
      size, size / executor.threads(), [&](int64_t begin, int64_t end) {
        std::memcpy(tensors.other.data() + begin, tensors.floats.data() + begin,
                    static_cast<size_t>(end - begin));
      });
}

/// Reductions write floats for channels or groups: next to nothing.
void add_reductions(std::vector<Case>& cases, Tensors& t, Executor& on) {
  const auto& table = kernels::kernels();
  auto* low = reinterpret_cast<float*>(t.scales.data());
  auto* high = reinterpret_cast<float*>(t.shifts.data());
  const auto absmax = [&, low](const char* name, AxisView view) {
    cases.push_back({name, 1.0 * size_of(t.dtype), [&, low, view] {
                       table.absmax(t.floats.data(), t.dtype, view, low, on);
                     }});
  };
  const auto min_max = [&, low, high](const char* name, GroupLayout layout) {
    cases.push_back({name, 1.0 * size_of(t.dtype), [&, low, high, layout] {
                       table.min_max(t.floats.data(), t.dtype, layout, low,
                                     high, on);
                     }});
  };
  absmax("absmax", {1, 1, t.rows * kColumns});
  absmax("absmax rows", {1, t.rows, kColumns});
  absmax("absmax columns", {t.rows, kColumns, 1});
  min_max("min_max groups", {false, t.rows, kColumns / kGroup, kGroup});
  min_max("min_max columns", {true, kColumns, 1, t.rows});
}

void add_bytes(std::vector<Case>& cases, Tensors& t, Executor& on) {
  const auto& table = kernels::kernels();
  const double bytes = size_of(t.dtype) + 1.0;
  for (const DType storage : {DType::kInt8, DType::kFloat8E4M3FN,
                              DType::kFloat8E5M2, DType::kFloat8E4M3FNUZ}) {
    const std::string suffix = " " + std::string(name_of(storage));
    const auto add = [&, storage](const char* name, AxisView view) {
      cases.push_back({name + suffix, bytes, [&, storage, view] {
                         table.quantize_symmetric(t.floats.data(), t.dtype,
                                                  view, t.scales.data(),
                                                  storage, t.other.data(), on);
                       }});
    };
    add("quantize rows", {1, t.rows, kColumns});
    add("quantize columns", {t.rows, kColumns, 1});
    cases.push_back({"quantize dynamic" + suffix, bytes, [&, storage] {
                       table.quantize_rows(
                           t.floats.data(), t.dtype, t.rows, kColumns, storage,
                           t.other.data(),
                           reinterpret_cast<float*>(t.shifts.data()), on);
                     }});
    cases.push_back({"dequantize rows" + suffix, bytes, [&, storage] {
                       table.dequantize_symmetric(
                           t.floats.data(), storage, {1, t.rows, kColumns},
                           t.scales.data(), t.dtype, t.other.data(), on);
                     }});
  }
}

void add_bits(std::vector<Case>& cases, Tensors& t, Executor& on) {
  const auto& table = kernels::kernels();
  const GroupLayout layout{false, t.rows, kColumns / kGroup, kGroup};
  const int64_t rows = layout.rows();
  auto* codes = reinterpret_cast<uint8_t*>(t.other.data());
  const auto* packed = reinterpret_cast<const uint8_t*>(t.floats.data());
  for (const int bits : {4, 2}) {
    const std::string suffix = " int" + std::to_string(bits);
    const double share = bits / 8.0;
    for (const ShiftKind kind : {ShiftKind::kFloat, ShiftKind::kInteger}) {
      const std::string shift =
          kind == ShiftKind::kInteger ? " zero point" : "";
      cases.push_back({"quantize" + suffix + shift, size_of(t.dtype) + 1.0,
                       [&, layout, bits, kind, codes] {
                         table.quantize_affine(
                             t.floats.data(), t.dtype, layout, bits,
                             t.scales.data(), t.shifts.data(), kind, codes, on);
                       }});
      cases.push_back({"dequantize" + suffix + shift, size_of(t.dtype) + share,
                       [&, layout, bits, kind, packed] {
                         table.dequantize_affine(packed, layout, bits,
                                                 t.scales.data(),
                                                 t.shifts.data(), kind, t.dtype,
                                                 t.other.data(), on);
                       }});
    }
    cases.push_back({"pack" + suffix, 1.0 + share, [&, rows, bits, codes] {
                       table.pack(
                           reinterpret_cast<const uint8_t*>(t.floats.data()),
                           rows, kGroup, bits, codes, on);
                     }});
    cases.push_back(
        {"unpack" + suffix, 1.0 + share, [&, rows, bits, codes, packed] {
           table.unpack(packed, packed_rows(rows, bits), kGroup, bits, codes,
                        on);
         }});
  }
}

/// Scales and codes, as `quanto quantize` makes them.
void add_weights(std::vector<Case>& cases, Tensors& t,
                 std::vector<formats::NamedBuffer>& made, Executor& on) {
  for (const QTypeId id : {QTypeId::kQInt8, QTypeId::kQFloat8E4M3FN,
                           QTypeId::kQInt4, QTypeId::kQInt2}) {
    const QType& type = qtype(id);
    const bool bytes = type.bits == 8;
    formats::WeightFacts facts{id, {}};
    if (!bytes) facts.group_size = kGroup;
    cases.push_back(
        {"weight " + std::string(type.name), size_of(t.dtype) + type.bits / 8.0,
         [&, facts, bytes] {
           formats::quantize_weight(
               "m", {t.floats.data(), t.dtype, t.rows, kColumns}, facts,
               bytes ? formats::Optimizer::kAbsmax : formats::Optimizer::kMax,
               made, on);
         }});
  }
}

void measure(const Case& kernel, int rounds, Tensors& tensors,
             Executor& executor) {
  Spent own, copies;
  kernel.run();
  for (int i = 0; i < rounds; ++i) {
    copies.run([&] { copy(tensors, executor); });
    own.run(kernel.run);
  }
  const double share =
      50.0 * kernel.bytes / static_cast<double>(size_of(tensors.dtype));
  const double ratio = own.seconds / copies.seconds;
  const double cpu_ratio = own.cpu_seconds / copies.cpu_seconds;
  std::printf("%-9s %-32s %8.1f %8.1f %6.2f %5.0f %% %8.2f %5.0f %%\n",
              std::string(name_of(tensors.dtype)).c_str(), kernel.name.c_str(),
              own.seconds * 1e3, copies.seconds * 1e3, ratio, share / ratio,
              cpu_ratio, share / cpu_ratio);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const int64_t bytes = std::stoll(argv[1]) << 20;
  const int rounds = std::stoi(argv[2]);
  ThreadPool executor(std::stoi(argv[3]));
  const std::string part = argc > 4 ? argv[4] : "";
  std::printf("%-9s %-32s %8s %8s %6s %7s %8s %7s\n", "dtype", "kernel", "ms",
              "copy", "ratio", "share", "cpu", "share");
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    Tensors tensors(dtype, bytes);
    std::vector<formats::NamedBuffer> made;
    std::vector<Case> cases;
    add_bytes(cases, tensors, executor);
    add_bits(cases, tensors, executor);
    add_weights(cases, tensors, made, executor);
    add_reductions(cases, tensors, executor);
    for (const Case& kernel : cases) {
      const std::string name = std::string(name_of(dtype)) + " " + kernel.name;
      if (name.find(part) != std::string::npos) {
        measure(kernel, rounds, tensors, executor);
      }
    }
  }
  return 0;
}
