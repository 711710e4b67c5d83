// SPDX-License-Identifier: Apache-2.0
#include "data.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>

namespace {

/// The unsigned bytes of a gzipped IDX file: two zeros, 8 for bytes, the number
/// of dimensions; the size of each, 4 bytes, big endian; the values. Only the
/// first `limit` of the first dimension are read.
std::vector<uint8_t> read_idx(const std::string& path,
                              const std::vector<int64_t>& item, size_t limit) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(
      gzopen(path.c_str(), "rb"), gzclose);
  if (file == nullptr) {
    throw std::runtime_error(path +
                             ": expected a readable file, got none (Debian's "
                             "package dataset-fashion-mnist has it)");
  }
  std::vector<uint8_t> header(8 + 4 * item.size());
  const auto read = [&](std::vector<uint8_t>& bytes) {
    const auto size = static_cast<unsigned>(bytes.size());
    if (gzread(file.get(), bytes.data(), size) != static_cast<int>(size)) {
      throw std::runtime_error(path + ": expected a whole IDX file, got less");
    }
  };
  const auto size_at = [&](size_t place) {
    size_t size = 0;
    for (size_t i = 4 * place; i < 4 * place + 4; ++i) {
      size = size << 8 | header[i];
    }
    return size;
  };
  read(header);
  bool fits = header[2] == 8 && header[3] == item.size() + 1;
  size_t bytes = std::min(size_at(1), limit);
  for (size_t i = 0; i < item.size(); ++i) {
    fits = fits && size_at(i + 2) == static_cast<size_t>(item[i]);
    bytes *= static_cast<size_t>(item[i]);
  }
  if (!fits) {
    throw std::runtime_error(path +
                             ": expected an IDX file of such images or "
                             "labels, got another");
  }
  std::vector<uint8_t> values(bytes);
  read(values);
  return values;
}

}  // namespace

Images read_images(const std::string& folder, const std::string& split,
                   size_t limit) {
  const std::string stem = folder + "/" + split;
  Images images;
  images.pixels =
      read_idx(stem + "-images-idx3-ubyte.gz", {kSide, kSide}, limit);
  images.labels = read_idx(stem + "-labels-idx1-ubyte.gz", {}, limit);
  const bool fits =
      images.pixels.size() == images.labels.size() * kSide * kSide &&
      !images.labels.empty() &&
      std::ranges::all_of(images.labels,
                          [](uint8_t label) { return label < kClasses; });
  if (!fits) {
    throw std::runtime_error(stem +
                             ": expected as many labels below 10 as "
                             "images, got others");
  }
  return images;
}
