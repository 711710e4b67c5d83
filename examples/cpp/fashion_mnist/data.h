// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// Images of 28 x 28 gray values, one after the other, and their classes.
struct Images {
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> labels;
};

constexpr int64_t kSide = 28;
constexpr int64_t kClasses = 10;

/// Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017), as Debian's package
/// dataset-fashion-mnist has it: the first `limit` images of "train" or "t10k".
/// Throws std::runtime_error for a file that is absent or not what it should
/// be.
Images read_images(const std::string& folder, const std::string& split,
                   size_t limit);
