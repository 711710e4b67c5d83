// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "quanto/io/result.h"

namespace quanto::io {

/// A file that appears whole or not at all: written under a hidden name beside
/// its target, `.NAME.quanto-tmp`, and renamed over it by commit(). Destroyed
/// before that, it leaves the target as it was and removes what it wrote. What
/// a killed process left is overwritten by the next one; a lock keeps two
/// processes from writing at once.
class AtomicFile {
 public:
  /// Reserves `size` bytes, so that a full disk shows here. Errors: the target
  /// is a directory, the folder cannot be written, no space, another process
  /// writes this target.
  static Result<AtomicFile> create(const std::string& target, uint64_t size);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  [[nodiscard]] const std::string& target() const { return target_; }

  /// Writes at a position; safe to call from several threads for parts that
  /// do not overlap.
  Status write(uint64_t offset, std::span<const std::byte> bytes) const;

  /// Brings the bytes to the disk, then the name.
  Status commit();

 private:
  AtomicFile(std::string target, std::string temporary, int fd, int slot)
      : target_(std::move(target)),
        temporary_(std::move(temporary)),
        fd_(fd),
        slot_(slot) {}
  void discard();

  std::string target_;
  std::string temporary_;
  int fd_ = -1;
  int slot_ = -1;
};

/// Brings the names in a folder to the disk.
Status sync_folder(const std::string& folder);

/// Writes a whole small file that way.
Status write_file(const std::string& target, std::string_view content);

/// Has SIGINT, SIGTERM and SIGHUP remove what AtomicFiles of this process have
/// not committed, and then end the process as they do.
void remove_temporaries_on_signals();

}  // namespace quanto::io
