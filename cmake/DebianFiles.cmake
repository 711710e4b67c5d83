# Run by cpack on the staged tree: compressed man page, copyright and changelog
# where Debian's policy has them (sections 12.1, 12.5 and 12.7).

set(staged ${CPACK_TEMPORARY_DIRECTORY})
file(GLOB_RECURSE page ${staged}/quanto.1)
if(NOT page)
  message(FATAL_ERROR "expected quanto.1 under ${staged}, got none")
endif()
get_filename_component(doc ${page}/../../../doc/quanto ABSOLUTE)

file(READ ${CPACK_QUANTO_SOURCE_DIR}/THIRD_PARTY.md third_party)
file(
  WRITE ${doc}/copyright
  "quanto is Copyright of the quanto authors and licensed under the Apache License,
Version 2.0: on Debian systems its text is /usr/share/common-licenses/Apache-2.0.

${third_party}")

string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(
  WRITE ${doc}/changelog
  "quanto (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * Release ${CPACK_PACKAGE_VERSION}; CHANGELOG.md of the sources says what is new.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
execute_process(COMMAND gzip -9nf ${page} ${doc}/changelog
                        COMMAND_ERROR_IS_FATAL ANY)
