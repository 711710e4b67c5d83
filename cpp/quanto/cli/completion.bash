# SPDX-License-Identifier: Apache-2.0
# Completion of quanto(1) for bash.

_quanto() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local words=""
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    words="quantize dequantize inspect compare verify bench -h --help --version"
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    return
  fi
  case $previous in
    -w | --weights)
      words="int8 int4 int2 float8 float8_e5m2 float8_e4m3fnuz"
      ;;
    -g | --group-size)
      words="128 96 64 32"
      ;;
    --optimizer)
      words="absmax max hqq"
      ;;
    --include | --exclude | --shard | -j | --threads | --worst)
      return
      ;;
    *)
      if [[ $current == -* ]]; then
        case ${COMP_WORDS[1]} in
          quantize)
            words="-w --weights -g --group-size --optimizer --include --exclude
              --policy -j --threads --dry-run --resume --shard"
            ;;
          dequantize) words="-j --threads" ;;
          inspect) words="--json" ;;
          compare) words="--worst --json" ;;
          bench) words="-j --threads --json" ;;
        esac
        words+=" -h --help"
      fi
      ;;
  esac
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}

complete -F _quanto quanto
