// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace quanto::io {
namespace {

Error system_error(const std::string& path, const char* expected) {
  return {path,
          {},
          fmt::format("expected {}, got: {}", expected, std::strerror(errno))};
}

/// Closes the descriptor when it goes: a mapping does not need it.
struct Descriptor {
  int value;
  explicit Descriptor(int fd) : value(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

void advise(std::span<const std::byte> whole, std::span<const std::byte> part,
            int advice) {
  if (part.empty()) return;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = static_cast<size_t>(part.data() - whole.data());
  const size_t first = begin / page * page;
  auto* address = const_cast<std::byte*>(whole.data() + first);
  ::madvise(address, begin + part.size() - first, advice);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path, Mapping mapping) {
  // Not blocking: a named pipe would wait for its writer.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.value < 0) return system_error(path, "a readable file");
  struct stat info{};
  if (::fstat(fd.value, &info) != 0) return system_error(path, "its size");
  if (!S_ISREG(info.st_mode)) {
    return Error{path, {}, "expected a regular file, got something else"};
  }
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) return MappedFile(path, {});
  const bool keep = mapping == Mapping::kKeep;
  void* data =
      ::mmap(nullptr, size, keep ? PROT_READ | PROT_WRITE : PROT_READ,
             keep ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED, fd.value, 0);
  if (data == MAP_FAILED) return system_error(path, "to map it");
  if (!keep) ::madvise(data, size, MADV_SEQUENTIAL);
  return MappedFile(path, {static_cast<const std::byte*>(data), size});
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

void MappedFile::prefetch(std::span<const std::byte> part) const {
  advise(bytes_, part, MADV_WILLNEED);
}

void MappedFile::release(std::span<const std::byte> part) const {
  advise(bytes_, part, MADV_DONTNEED);
}

}  // namespace quanto::io
