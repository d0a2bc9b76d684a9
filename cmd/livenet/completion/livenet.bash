# A word that begins with a dash is passed on as it is, to be completed. For any other
# livenet lists all that there is, and the shell chooses.
_livenet() {
  local word="${COMP_WORDS[COMP_CWORD]}" given=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
  [[ $word == -* ]] && given+=("$word")
  COMPREPLY=($(compgen -W "$(livenet "${given[@]}" --generate-bash-completion 2>/dev/null)" -- "$word"))
}
complete -o default -F _livenet livenet
