// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/bench_kernels.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include "quanto/core/packing.h"
#include "quanto/formats/weight.h"
#include "quanto/kernels/cpu/dispatch.h"

namespace quanto::cli {
namespace {

using formats::Buffer;

constexpr int64_t kGroup = 128;
constexpr int64_t kRows = 128;  // of the products that compute bounds

/// The least seconds of one call run(i), i from 0 to `copies`, of passes over
/// all of them.
double seconds_of(int64_t copies, const std::function<void(int64_t)>& run) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::duration<double> kBudget(0.2);
  run(0);  // pages of the result that no one has touched
  double best = 1e30;
  const auto start = Clock::now();
  do {
    const auto begin = Clock::now();
    for (int64_t i = 0; i < copies; ++i) run(i);
    const std::chrono::duration<double> pass = Clock::now() - begin;
    best = std::min(best, pass.count() / static_cast<double>(copies));
  } while (Clock::now() - start < kBudget);
  return best;
}

/// Bytes that are numbers of moderate size whatever type they are taken for:
/// bfloat16 (0x3f..), float8 without infinities and NaN, codes.
Buffer numbers(size_t bytes) {
  Buffer buffer(bytes);
  uint64_t state = 1;
  for (size_t i = 0; i < bytes; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const auto random = static_cast<uint8_t>(state >> 56U);
    buffer.data()[i] = std::byte{static_cast<uint8_t>(
        i % 2 == 0 ? random & 0x37U : 0x3fU | (random & 0x80U))};
  }
  return buffer;
}

/// Measures one qtype after the other on the same bytes.
class Bench {
 public:
  explicit Bench(Executor& executor)
      : executor_(executor),
        size_(is_ref() ? 512 : 4096),
        in_(numbers(std::max(working_set_bytes(), matrix_bytes()))),
        out_(in_.bytes().size()) {}

  std::vector<Measured> run() {
    for (const QType& type : kQTypes) quantize(type);
    for (const QType& type : kQTypes) dequantize(type);
    for (const QType& type : kQTypes) linear(type, 1, DType::kBFloat16);
    for (const QType& type : kQTypes) linear(type, kRows, DType::kBFloat16);
    linear(qtype(QTypeId::kQInt8), kRows, DType::kInt8);
    return std::move(measured_);
  }

 private:
  /// Its loops are those of an oracle: one smaller matrix, no memory bounds it.
  [[nodiscard]] static bool is_ref() { return kernels::kernels().isa == "ref"; }
  [[nodiscard]] size_t matrix_bytes() const {
    return static_cast<size_t>(size_ * size_) * 2;
  }
  [[nodiscard]] size_t data_bytes(const QType& type) const {
    return static_cast<size_t>(size_ * size_ * type.bits) / 8;
  }
  [[nodiscard]] static bool has_groups(const QType& type) {
    return type.bits < 8;
  }
  [[nodiscard]] size_t scales_bytes(const QType& type) const {
    const int64_t scales =
        has_groups(type) ? 2 * size_ * size_ / kGroup : size_;
    return static_cast<size_t>(scales) * 2;
  }
  [[nodiscard]] int64_t copies(size_t bytes) const {
    if (is_ref()) return 1;
    return static_cast<int64_t>(in_.bytes().size() / bytes);
  }
  [[nodiscard]] static size_t at(int64_t copy, size_t bytes) {
    return static_cast<size_t>(copy) * bytes;
  }
  [[nodiscard]] static formats::WeightFacts facts(const QType& type) {
    formats::WeightFacts of;
    of.qtype = type.id;
    if (has_groups(type)) of.group_size = kGroup;
    return of;
  }

  void add(std::string operation, const QType& type, double seconds,
           size_t bytes) {
    measured_.push_back({std::move(operation), type.id, seconds,
                         static_cast<double>(bytes), 0, ""});
  }

  void quantize(const QType& type) {
    const auto optimizer = has_groups(type) ? formats::Optimizer::kMax
                                            : formats::Optimizer::kAbsmax;
    std::vector<std::vector<formats::NamedBuffer>> made(
        static_cast<size_t>(copies(matrix_bytes())));
    const double seconds = seconds_of(copies(matrix_bytes()), [&](int64_t i) {
      const formats::Matrix matrix{in_.data() + at(i, matrix_bytes()),
                                   DType::kBFloat16, size_, size_};
      formats::quantize_weight("w", matrix, facts(type), optimizer,
                               made[static_cast<size_t>(i)], executor_);
    });
    add("quantize", type, seconds,
        matrix_bytes() + data_bytes(type) + scales_bytes(type));
  }

  void dequantize(const QType& type) {
    const size_t data = data_bytes(type);
    const double seconds = seconds_of(copies(matrix_bytes()), [&](int64_t i) {
      formats::StoredWeight weight{};
      weight.data = in_.data() + at(i, data);
      weight.scale = in_.data();
      weight.shift = has_groups(type) ? in_.data() : nullptr;
      weight.dtype = DType::kBFloat16;
      weight.rows = weight.columns = size_;
      formats::dequantize_weight(
          weight, facts(type), out_.data() + at(i, matrix_bytes()), executor_);
    });
    add("dequantize", type, seconds,
        matrix_bytes() + data + scales_bytes(type));
  }

  void linear(const QType& type, int64_t rows, DType input) {
    const bool codes = input != DType::kBFloat16;
    kernels::LinearProblem problem{};
    problem.m = rows;
    problem.n = problem.k = size_;
    problem.input = input;
    problem.input_scale =
        codes ? kernels::InputScale::kTensor : kernels::InputScale::kNone;
    problem.activation = problem.scale = DType::kBFloat16;
    problem.weight = type.id;
    problem.group_size = has_groups(type) ? kGroup : size_;
    problem.shift = has_groups(type) ? kernels::ShiftKind::kFloat
                                     : kernels::ShiftKind::kNone;
    const auto& variant = kernels::plan_linear(kernels::kernels(), problem);
    const size_t data = data_bytes(type);
    const float one = 1.0F;
    const double seconds =
        seconds_of(rows == 1 ? copies(data) : 1, [&](int64_t i) {
          const kernels::LinearArgs args{
              in_.data(),
              codes ? &one : nullptr,
              in_.data() + at(i, data),
              in_.data(),
              has_groups(type) ? in_.data() : nullptr,
              nullptr,
              out_.data()};
          variant.run(problem, args, executor_);
        });
    add(fmt::format("linear, {} x {} {}", rows, size_, codes ? "int8" : "bf16"),
        type, seconds, data + scales_bytes(type));
    if (rows == 1) return;
    measured_.back().operations =
        2.0 * static_cast<double>(rows) * static_cast<double>(size_ * size_);
    measured_.back().compute = codes ? "int8" : "bf16";
  }

  Executor& executor_;
  int64_t size_;
  Buffer in_, out_;
  std::vector<Measured> measured_;
};

}  // namespace

size_t working_set_bytes() {
  constexpr long kLeast = 64L << 20, kMost = 512L << 20;
  const long cache = ::sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0: not known
  const long memory = ::sysconf(_SC_AVPHYS_PAGES) * ::sysconf(_SC_PAGESIZE);
  const long wanted = std::clamp(2 * cache, kLeast, kMost);
  return static_cast<size_t>(std::min(wanted, std::max(memory / 8, kLeast)));
}

std::vector<Measured> measure_kernels(Executor& executor) {
  return Bench(executor).run();
}

}  // namespace quanto::cli
