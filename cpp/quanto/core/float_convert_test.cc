// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/float_convert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace quanto {
namespace {

/// One narrow type as its defining paper describes it; nothing here shares code
/// with the conversions under test.
struct Type {
  std::string_view name;
  int exponent;
  int mantissa;
  int bias;
  uint32_t largest;   ///< code of the largest finite value
  uint32_t overflow;  ///< code a too large magnitude goes to
  bool has_inf;
  bool fnuz;  ///< a single NaN in the place of negative zero
  uint32_t (*from_float)(float);
  float (*to_float)(uint32_t);

  [[nodiscard]] uint32_t sign() const { return 1U << (exponent + mantissa); }
};

std::ostream& operator<<(std::ostream& out, const Type& type) {
  return out << type.name;
}

constexpr std::array<Type, 5> kTypes = {{
    {"fp16", 5, 10, 15, 0x7bff, 0x7c00, true, false,
     [](float x) -> uint32_t { return fp16_from_float(x); },
     [](uint32_t b) { return float_from_fp16(static_cast<uint16_t>(b)); }},
    {"bf16", 8, 7, 127, 0x7f7f, 0x7f80, true, false,
     [](float x) -> uint32_t { return bf16_from_float(x); },
     [](uint32_t b) { return float_from_bf16(static_cast<uint16_t>(b)); }},
    {"e4m3fn", 4, 3, 7, 0x7e, 0x7e, false, false,
     [](float x) -> uint32_t { return e4m3fn_from_float(x); },
     [](uint32_t b) { return float_from_e4m3fn(static_cast<uint8_t>(b)); }},
    {"e5m2", 5, 2, 15, 0x7b, 0x7c, true, false,
     [](float x) -> uint32_t { return e5m2_from_float(x); },
     [](uint32_t b) { return float_from_e5m2(static_cast<uint8_t>(b)); }},
    {"e4m3fnuz", 4, 3, 8, 0x7f, 0x80, false, true,
     [](float x) -> uint32_t { return e4m3fnuz_from_float(x); },
     [](uint32_t b) { return float_from_e4m3fnuz(static_cast<uint8_t>(b)); }},
}};

/// (-1)^s * 1.m * 2^(e - bias), or 0.m * 2^(1 - bias) at exponent 0. Also for
/// the code past the largest: what it would be worth with exponents unbounded.
double value_of(const Type& type, uint32_t magnitude) {
  const int exponent = static_cast<int>(magnitude >> type.mantissa);
  const double unit = std::ldexp(1.0, -type.mantissa);
  const double fraction = (magnitude & ((1U << type.mantissa) - 1)) * unit;
  return exponent == 0 ? std::ldexp(fraction, 1 - type.bias)
                       : std::ldexp(1 + fraction, exponent - type.bias);
}

/// Finds the nearest value by search among all of them, ties to the even code.
class Oracle {
 public:
  explicit Oracle(const Type& type) : type_(type) {
    for (uint32_t code = 0; code <= type.largest + 1; ++code) {
      values_.push_back(value_of(type, code));
    }
  }

  [[nodiscard]] uint32_t from_float(float value) const {
    const uint32_t code = magnitude_of(std::fabs(static_cast<double>(value)));
    if (type_.fnuz && (code == 0 || code == type_.overflow)) return code;
    return std::signbit(value) ? code | type_.sign() : code;
  }

 private:
  [[nodiscard]] uint32_t magnitude_of(double value) const {
    if (value >= values_.back()) return type_.overflow;
    const auto above = std::ranges::upper_bound(values_, value);
    const auto high = static_cast<uint32_t>(above - values_.begin());
    const uint32_t low = high - 1;
    const double to_low = value - values_[low];
    const double to_high = values_[high] - value;
    const bool up = to_high < to_low || (to_high == to_low && low % 2 == 1);
    const uint32_t code = up ? high : low;
    return code > type_.largest ? type_.overflow : code;
  }

  const Type& type_;
  std::vector<double> values_;
};

/// Low halves that, under any high half, give ties of every type, their
/// neighbours, and what lies between.
std::vector<uint32_t> low_halves() {
  std::vector<uint32_t> halves = {0, 1, 2, 0x5555, 0xaaaa, 0xfffe, 0xffff};
  for (int bit = 1; bit < 16; ++bit) {
    const uint32_t tie = 1U << bit;
    halves.insert(halves.end(), {tie - 1, tie, tie + 1});
    const uint32_t odd_tie = tie | (tie << 1 & 0xffff);
    halves.insert(halves.end(), {odd_tie - 1, odd_tie, odd_tie + 1});
  }
  return halves;
}

class FloatConvertTest : public testing::TestWithParam<Type> {};

TEST_P(FloatConvertTest, EveryCodeHasItsValue) {
  const Type& type = GetParam();
  for (uint32_t code = 0; code < 2 * type.sign(); ++code) {
    const float value = type.to_float(code);
    const uint32_t magnitude = code & (type.sign() - 1);
    const bool negative = (code & type.sign()) != 0;
    if (type.fnuz && code == 0x80) {
      EXPECT_TRUE(std::isnan(value));
    } else if (magnitude <= type.largest) {
      EXPECT_EQ(std::fabs(value), value_of(type, magnitude)) << code;
      EXPECT_EQ(std::signbit(value), negative) << code;
    } else if (type.has_inf && magnitude == type.overflow) {
      EXPECT_EQ(value, negative ? -INFINITY : INFINITY);
    } else {
      EXPECT_TRUE(std::isnan(value)) << code;
      EXPECT_EQ(std::signbit(value), negative) << code;
    }
  }
}

TEST_P(FloatConvertTest, EveryCodeRoundTrips) {
  const Type& type = GetParam();
  for (uint32_t code = 0; code < 2 * type.sign(); ++code) {
    const float value = type.to_float(code);
    if (!std::isnan(value)) {
      EXPECT_EQ(type.from_float(value), code);
    }
  }
}

TEST_P(FloatConvertTest, RoundsToNearestEven) {
  const Type& type = GetParam();
  const Oracle oracle(type);
  const std::vector<uint32_t> lows = low_halves();
  int64_t wrong = 0;
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (const uint32_t low : lows) {
      const auto value = std::bit_cast<float>(high << 16 | low);
      if (std::isnan(value)) continue;
      if (type.from_float(value) != oracle.from_float(value)) {
        if (++wrong == 1) ADD_FAILURE() << std::hexfloat << value;
      }
    }
  }
  EXPECT_EQ(wrong, 0);
}

TEST_P(FloatConvertTest, EveryTieGoesToTheEvenCode) {
  const Type& type = GetParam();
  for (uint32_t code = 0; code <= type.largest; ++code) {
    const double middle = (value_of(type, code) + value_of(type, code + 1)) / 2;
    const auto tie = static_cast<float>(middle);
    ASSERT_EQ(tie, middle) << "a tie of a narrow type is a float";
    const auto expected = [&](uint32_t nearest) {
      return nearest > type.largest ? type.overflow : nearest;
    };
    EXPECT_EQ(type.from_float(tie), expected(code + code % 2));
    EXPECT_EQ(type.from_float(std::nextafter(tie, 0.0F)), code);
    EXPECT_EQ(type.from_float(std::nextafter(tie, INFINITY)),
              expected(code + 1));
  }
}

TEST_P(FloatConvertTest, NanStaysNan) {
  const Type& type = GetParam();
  for (const uint32_t sign : {0U, 0x80000000U}) {
    for (const uint32_t low : low_halves()) {
      for (uint32_t high = 0x7f80; high < 0x8000; ++high) {
        const auto value = std::bit_cast<float>(sign | high << 16 | low);
        if (!std::isnan(value)) continue;
        const uint32_t code = type.from_float(value);
        ASSERT_TRUE(std::isnan(type.to_float(code)));
        if (!type.fnuz && type.name != "bf16") {
          ASSERT_EQ((code & type.sign()) != 0, sign != 0);
        }
      }
    }
  }
}

TEST(FloatConvertLimitsTest, InfinityBecomesTheOverflowCode) {
  EXPECT_EQ(fp16_from_float(-INFINITY), 0xfc00);
  EXPECT_EQ(bf16_from_float(-INFINITY), 0xff80);
  EXPECT_EQ(e4m3fn_from_float(-INFINITY), 0xfe);
  EXPECT_EQ(e5m2_from_float(-INFINITY), 0xfc);
  EXPECT_EQ(e4m3fnuz_from_float(-INFINITY), 0x80);
}

TEST(FloatConvertLimitsTest, E4M3FNSaturates) {
  EXPECT_EQ(e4m3fn_from_float(464.0F), 0x7e);
  EXPECT_EQ(e4m3fn_from_float(480.0F), 0x7e);
  EXPECT_EQ(e4m3fn_from_float(-3e38F), 0xfe);
}

TEST(FloatConvertLimitsTest, E4M3FNUZOverflowsFromItsLastTie) {
  EXPECT_EQ(e4m3fnuz_from_float(std::nextafter(248.0F, 0.0F)), 0x7f);
  EXPECT_EQ(e4m3fnuz_from_float(248.0F), 0x80);
}

INSTANTIATE_TEST_SUITE_P(Types, FloatConvertTest, testing::ValuesIn(kTypes),
                         [](const auto& param) {
                           return std::string(param.param.name);
                         });

}  // namespace
}  // namespace quanto
