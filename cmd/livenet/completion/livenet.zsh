#compdef livenet
# A word that begins with a dash is passed on as it is, to be completed. For any other
# livenet lists all that there is, and the shell chooses.
_livenet() {
  local -a given=("${(@)words[2,CURRENT-1]}") found
  [[ ${words[CURRENT]} == -* ]] && given+=("${words[CURRENT]}")
  found=(${(f)"$(livenet "${given[@]}" --generate-bash-completion 2>/dev/null)"})
  compadd -a found || _files
}
compdef _livenet livenet
