// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/atomic_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>

namespace quanto::io {
namespace {

/// Paths that a signal handler may remove: memory that never moves, with a flag
/// that says whether it holds a path.
struct Slot {
  std::atomic<bool> taken = false;
  std::atomic<bool> armed = false;
  std::array<char, PATH_MAX> path{};
};
std::array<Slot, 4> slots;

/// A slot that holds this path, or -1: then a signal leaves the file behind
/// for the next run to overwrite.
int take_slot(const std::string& path) {
  if (path.size() >= PATH_MAX) return -1;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].taken.exchange(true)) continue;
    std::memcpy(slots[i].path.data(), path.c_str(), path.size() + 1);
    slots[i].armed = true;
    return static_cast<int>(i);
  }
  return -1;
}

void free_slot(int slot) {
  if (slot < 0) return;
  slots[static_cast<size_t>(slot)].armed = false;
  slots[static_cast<size_t>(slot)].taken = false;
}

/// Files that are being made and stand in no slot yet, and whether a signal
/// has come. A handler on another thread waits for the first to be none; who
/// begins to make one after the second waits for the end of the process.
std::atomic<int> making = 0;
std::atomic<bool> ending = false;

constexpr std::array kEndingSignals = {SIGINT, SIGTERM, SIGHUP};

sigset_t set_of_ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kEndingSignals) sigaddset(&set, signal);
  return set;
}

/// From before a temporary file exists until its slot holds it, no handler
/// looks at the slots: this thread takes no signal, the others wait.
class Making {
 public:
  Making() {
    const sigset_t signals = set_of_ending_signals();
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
    for (++making; ending; ++making) {
      --making;
      ::pause();
    }
  }
  Making(const Making&) = delete;
  Making& operator=(const Making&) = delete;
  ~Making() {
    --making;
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t before_{};
};

extern "C" void remove_and_end(int signal) {
  ending = true;
  while (making > 0) ::sched_yield();
  for (const Slot& slot : slots) {
    if (slot.armed) ::unlink(slot.path.data());
  }
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

Error failed(const std::string& file, const char* expected) {
  return {file,
          {},
          fmt::format("expected {}, got: {}", expected, std::strerror(errno))};
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

/// Whether the name still is that of the open file: another process may have
/// renamed it between our open and our lock.
bool is_still(int fd, const std::string& name) {
  struct stat opened{}, named{};
  return ::fstat(fd, &opened) == 0 && ::lstat(name.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

struct Opened {
  int fd;
  int slot;
};

Result<Opened> open_in_slot(const std::string& temporary,
                            const std::string& target) {
  const Making until_in_slot;
  const int fd = ::open(temporary.c_str(),
                        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return failed(target, "a folder that can be written");
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_still(fd, temporary)) {
    ::close(fd);
    return Error{target, {}, "expected one process to write it, got another"};
  }
  return Opened{fd, take_slot(temporary)};
}

Status reserve(int fd, uint64_t size, const std::string& target) {
  if (::ftruncate(fd, 0) != 0) return failed(target, "an empty new file");
  if (size == 0) return Done{};
  errno = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
  if (errno != 0) {
    const std::string expected = fmt::format("room for {} bytes", size);
    return failed(target, expected.c_str());
  }
  return Done{};
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& target,
                                      uint64_t size) {
  const std::filesystem::path path(target);
  if (std::error_code ignored; std::filesystem::is_directory(path, ignored)) {
    return Error{target, {}, "expected a file to write, got a folder"};
  }
  const std::string temporary =
      path.parent_path() / ("." + path.filename().string() + ".quanto-tmp");
  QUANTO_ASSIGN_OR_RETURN(const Opened opened, open_in_slot(temporary, target));
  AtomicFile file(target, temporary, opened.fd, opened.slot);
  QUANTO_RETURN_IF_ERROR(reserve(opened.fd, size, target));
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      slot_(std::exchange(other.slot_, -1)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(target_, other.target_);
  std::swap(temporary_, other.temporary_);
  std::swap(fd_, other.fd_);
  std::swap(slot_, other.slot_);
  return *this;
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() {
  if (fd_ < 0) return;
  ::unlink(temporary_.c_str());
  free_slot(std::exchange(slot_, -1));
  ::close(std::exchange(fd_, -1));
}

Status AtomicFile::write(uint64_t offset,
                         std::span<const std::byte> bytes) const {
  const uint64_t begin = offset;
  const size_t size = bytes.size();
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed(target_, "to write it");
    offset += static_cast<uint64_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  // The disk starts now, so that commit() has little left to wait for.
  ::sync_file_range(fd_, static_cast<off_t>(begin), static_cast<off_t>(size),
                    SYNC_FILE_RANGE_WRITE);
  return Done{};
}

Status AtomicFile::commit() {
  if (::fsync(fd_) != 0) return failed(target_, "to bring it to the disk");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    return failed(target_, "to rename the new file to it");
  }
  free_slot(std::exchange(slot_, -1));
  ::close(std::exchange(fd_, -1));
  return sync_folder(folder_of(target_));
}

Status sync_folder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed(folder, "to open the folder");
  // A file system that cannot do it says EINVAL: nothing to wait for there.
  const bool synced = ::fsync(fd) == 0 || errno == EINVAL;
  ::close(fd);
  if (!synced) return failed(folder, "to bring the names to the disk");
  return Done{};
}

Status write_file(const std::string& target, std::string_view content) {
  QUANTO_ASSIGN_OR_RETURN(AtomicFile file,
                          AtomicFile::create(target, content.size()));
  QUANTO_RETURN_IF_ERROR(
      file.write(0, std::as_bytes(std::span(content.data(), content.size()))));
  return file.commit();
}

void remove_temporaries_on_signals() {
  struct sigaction action{};
  action.sa_handler = remove_and_end;
  action.sa_mask = set_of_ending_signals();
  for (const int signal : kEndingSignals) {
    ::sigaction(signal, &action, nullptr);
  }
}

}  // namespace quanto::io
