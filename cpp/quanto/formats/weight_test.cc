// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/weight.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>

#include "quanto/core/executor.h"
#include "quanto/core/packing.h"
#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/scale/absmax.h"
#include "quanto/scale/hqq.h"
#include "quanto/scale/max.h"

namespace quanto::formats {
namespace {

constexpr int64_t kRows = 7;
constexpr int64_t kColumns = 96;

struct Case {
  WeightFacts facts;
  Optimizer optimizer;
};

std::vector<float> random_weight(size_t size = kRows * kColumns) {
  std::vector<float> weight(size);
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  for (float& value : weight) value = normal(engine);
  return weight;
}

class WeightTest : public testing::TestWithParam<Case> {
 protected:
  std::vector<NamedBuffer> quantize(Executor& executor) {
    std::vector<NamedBuffer> parts;
    quantize_weight("m", {weight_.data(), DType::kFloat32, kRows, kColumns},
                    GetParam().facts, GetParam().optimizer, parts, executor);
    return parts;
  }
  std::vector<float> weight_ = random_weight();
};

const float* floats(const NamedBuffer& part) {
  return reinterpret_cast<const float*>(part.buffer.data());
}

TEST_P(WeightTest, FillsWhatIsStored) {
  SerialExecutor executor;
  const auto parts = quantize(executor);
  const auto tensors =
      stored_tensors("m", GetParam().facts, DType::kFloat32, kRows, kColumns);
  ASSERT_EQ(parts.size(), tensors.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ(parts[i].name, tensors[i].name);
    EXPECT_EQ(parts[i].buffer.bytes().size(),
              io::tensor_bytes(*tensors[i].type, tensors[i].shape));
  }
  EXPECT_EQ(*floats(parts[parts.size() - 1]), 1.0F);
  EXPECT_EQ(*floats(parts[parts.size() - 2]), 1.0F);
}

/// Largest error of rounding to the nearest code: half a step, which for the
/// floats of float8 e4m3 is a 16th of the value; HQQ's shift may cut the range,
/// by at most the search's whole step.
double bound(const QType& type, Optimizer optimizer, double scale, double w) {
  const double rounding = 1e-5 * std::fabs(w) + 1e-6;
  if (type.is_floating_point) {
    return std::max(std::fabs(w) / 16, scale * 0x1p-10) + rounding;
  }
  return scale * (optimizer == Optimizer::kHqq ? 1.5 : 0.5) + rounding;
}

TEST_P(WeightTest, StandsForItsWeight) {
  SerialExecutor executor;
  const auto parts = quantize(executor);
  const WeightFacts facts = GetParam().facts;
  const QType& type = qtype(facts.qtype);
  std::vector<float> back(weight_.size());
  dequantize_weight({parts[0].buffer.data(), parts[1].buffer.data(),
                     type.bits == 8 ? nullptr : parts[2].buffer.data(),
                     DType::kFloat32, false, kRows, kColumns},
                    facts, back.data(), executor);
  const int64_t width = facts.group_size.value_or(kColumns);
  for (size_t i = 0; i < back.size(); ++i) {
    const float scale = floats(parts[1])[i / static_cast<size_t>(width)];
    EXPECT_LE(std::fabs(back[i] - weight_[i]),
              bound(type, GetParam().optimizer, scale, weight_[i]))
        << i;
  }
}

TEST_P(WeightTest, IsTheSameForAnyNumberOfThreads) {
  SerialExecutor serial;
  ThreadPool pool(3);
  const auto one = quantize(serial), three = quantize(pool);
  for (size_t i = 0; i < one.size(); ++i) {
    const auto a = one[i].buffer.bytes(), b = three[i].buffer.bytes();
    ASSERT_EQ(a.size(), b.size());
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size()), 0) << one[i].name;
  }
}

TEST_P(WeightTest, RefusesInfinity) {
  SerialExecutor executor;
  weight_[5] = INFINITY;
  EXPECT_THROW(quantize(executor), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(
    Types, WeightTest,
    testing::Values(Case{{QTypeId::kQInt8, {}}, Optimizer::kAbsmax},
                    Case{{QTypeId::kQFloat8E4M3FN, {}}, Optimizer::kAbsmax},
                    Case{{QTypeId::kQInt4, 32}, Optimizer::kMax},
                    Case{{QTypeId::kQInt4, {}}, Optimizer::kMax},
                    Case{{QTypeId::kQInt4, 32}, Optimizer::kHqq},
                    Case{{QTypeId::kQInt2, 48}, Optimizer::kMax}),
    [](const auto& instance) {
      const Case& one = instance.param;
      return fmt::format("{}_{}_{}", qtype(one.facts.qtype).name,
                         one.facts.group_size.value_or(0),
                         static_cast<int>(one.optimizer));
    });

/// Rows for several blocks, the last shorter, and for packed planes of which
/// the last is shorter too.
constexpr int64_t kManyRows = 521;
constexpr int64_t kManyColumns = 384;

template <typename T>
std::vector<T> values_of(const NamedBuffer& part) {
  const auto bytes = part.buffer.bytes();
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

class BlocksTest : public testing::Test {
 protected:
  std::vector<NamedBuffer> quantize(WeightFacts facts, Optimizer optimizer) {
    ThreadPool pool(3);
    std::vector<NamedBuffer> parts;
    quantize_weight("m",
                    {weight_.data(), DType::kFloat32, kManyRows, kManyColumns},
                    facts, optimizer, parts, pool);
    return parts;
  }
  std::vector<float> weight_ =
      random_weight(static_cast<size_t>(kManyRows * kManyColumns));
  SerialExecutor serial_;
};

/// The kernels on the whole weight are the oracle.
class GroupBlocksTest : public BlocksTest,
                        public testing::WithParamInterface<Case> {};

TEST_P(GroupBlocksTest, AreTheWholeWeight) {
  const auto& [facts, optimizer] = GetParam();
  const auto parts = quantize(facts, optimizer);
  const int bits = qtype(facts.qtype).bits;
  const int64_t width = facts.group_size.value_or(kManyColumns);
  const GroupLayout layout{false, kManyRows, kManyColumns / width, width};
  const auto rows = static_cast<size_t>(layout.rows());
  std::vector<float> scale(rows), shift(rows);
  if (optimizer == Optimizer::kHqq) {
    scale::hqq(weight_.data(), DType::kFloat32, layout, bits, {}, scale.data(),
               shift.data(), serial_);
  } else {
    scale::max(weight_.data(), DType::kFloat32, layout, bits, scale.data(),
               shift.data(), serial_);
  }
  EXPECT_EQ(values_of<float>(parts[1]), scale);
  EXPECT_EQ(values_of<float>(parts[2]), shift);
  std::vector<uint8_t> codes(weight_.size());
  kernels::kernels().quantize_affine(
      weight_.data(), DType::kFloat32, layout, bits, scale.data(), shift.data(),
      kernels::ShiftKind::kFloat, codes.data(), serial_);
  std::vector<uint8_t> packed(
      static_cast<size_t>(packed_rows(layout.rows(), bits) * width));
  kernels::kernels().pack(codes.data(), layout.rows(), width, bits,
                          packed.data(), serial_);
  EXPECT_EQ(values_of<uint8_t>(parts[0]), packed);
}

INSTANTIATE_TEST_SUITE_P(
    Types, GroupBlocksTest,
    testing::Values(Case{{QTypeId::kQInt4, 128}, Optimizer::kMax},
                    Case{{QTypeId::kQInt4, {}}, Optimizer::kMax},
                    Case{{QTypeId::kQInt4, 32}, Optimizer::kHqq},
                    Case{{QTypeId::kQInt2, 128}, Optimizer::kMax}));

TEST_F(BlocksTest, OfEightBitsAreTheWholeWeight) {
  const auto parts = quantize({QTypeId::kQInt8, {}}, Optimizer::kAbsmax);
  const AxisView view{1, kManyRows, kManyColumns};
  std::vector<float> scale(kManyRows);
  scale::absmax(weight_.data(), DType::kFloat32, view, qtype(QTypeId::kQInt8),
                scale.data(), serial_);
  EXPECT_EQ(values_of<float>(parts[1]), scale);
  std::vector<uint8_t> codes(weight_.size());
  kernels::kernels().quantize_symmetric(weight_.data(), DType::kFloat32, view,
                                        scale.data(), DType::kInt8,
                                        codes.data(), serial_);
  EXPECT_EQ(values_of<uint8_t>(parts[0]), codes);
}

TEST_F(BlocksTest, ReportTheFirstFailure) {
  weight_.back() = INFINITY;
  weight_[0] = NAN;
  try {
    quantize({QTypeId::kQInt4, 128}, Optimizer::kMax);
    FAIL() << "expected an error";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "max_scale: expected finite values, got nan");
  }
}

}  // namespace
}  // namespace quanto::formats
