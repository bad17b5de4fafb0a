#!/usr/bin/env bash
# What action.yml runs: `servegauge gate` with the inputs of the action, which come as variables. A job that reads the
# JSON, JUnit or the outcome finds them after every end, also if the program did not accept its flags.
set -uo pipefail

json=${RUNNER_TEMP:?}/servegauge-gate.json
rm -f "$json"

# Prints words quoted as for a shell, one on each line; fails for an unbalanced quote.
cut_words() {
  [ -z "$1" ] || xargs printf '%s\n' <<< "$1"
}

# Writes the outcome of a gate that did not begin: the program writes every other one.
refuse() {
  local message
  message=$(printf '%s' "$1" | tr '\n\r\t' '   ' | tr -d '"\\' | tr -d '[:cntrl:]' | cut -c 1-500)
  printf '{"outcome":"error","error":"%s"}\n' "$message" > "$json"
  printf 'json=%s\noutcome=error\n' "$json" >> "$GITHUB_OUTPUT"
  printf '::error title=servegauge gate::%s\n' "${message//%/%25}"
  [ -z "${GITHUB_STEP_SUMMARY:-}" ] || printf '### 🚫 The gate has no result\n\n`%s`\n' "$message" >> "$GITHUB_STEP_SUMMARY"
  if [ -n "$JUNIT" ]; then
    message=$(sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' <<< "$message")
    mkdir -p "$(dirname "$JUNIT")"
    cat > "$JUNIT" << XML
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="servegauge gate" tests="1" failures="0" errors="1">
  <testsuite name="servegauge gate" tests="1" disabled="0" errors="1" failures="0">
    <testcase name="the gate has a result" classname="servegauge.gate"><error type="error" message="$message"/></testcase>
  </testsuite>
</testsuites>
XML
  fi
  exit 2
}

more=$(cut_words "$MORE_FLAGS" 2>&1) || refuse "the input flags has an unbalanced quote: $MORE_FLAGS"
run=$(cut_words "$RUN_FLAGS" 2>&1) || refuse "the input run has an unbalanced quote: $RUN_FLAGS"

words=(gate --github --json "$json" --on-unsettled "$ON_UNSETTLED")
[ -z "$BASELINE" ] || words+=(--baseline "$BASELINE")
[ -z "$CANDIDATE" ] || words+=(--candidate "$CANDIDATE")
[ -z "$RULES" ] || words+=(--rules "$RULES")
[ -z "$EXTEND" ] || words+=(--extend "$EXTEND")
[ -z "$JUNIT" ] || words+=(--junit "$JUNIT")
[ -z "$more" ] || { mapfile -t flags <<< "$more" && words+=("${flags[@]}"); }
[ -z "$run" ] || { mapfile -t flags <<< "$run" && words+=(-- run "${flags[@]}"); }

said=$(mktemp)
code=0
servegauge "${words[@]}" 2> >(tee "$said" >&2) || code=$?
[ -f "$json" ] || [ "$code" = 130 ] || refuse "$(grep -m 1 '^error' "$said" || echo "servegauge ended with exit code $code")"
exit "$code"
