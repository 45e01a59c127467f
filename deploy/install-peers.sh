#!/usr/bin/env bash
# Installs what the tests talk to where it is absent: programs from Debian's packages, where this user may install them,
# and the viewer OHIF through npm, into .peers/ of this folder. Starts nothing.
# Never fails: a test whose peer is absent is skipped and named, or fails with DUET_REQUIRE_PEERS=1.
set -euo pipefail

ohif=3.12.10
ohif_integrity=0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA==  # SHA-512 of the package
peers=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.peers

declare -A program_of=([dcmtk]=storescu [dicom3tools]=dciodvfy [orthanc]=Orthanc [chromium]=chromium [r-base-core]=Rscript [openssl]=openssl [systemd]=systemd-analyze)
PATH=$PATH:/usr/sbin

absent_packages() {
  local package missing=()
  for package in "${!program_of[@]}"; do
    command -v "${program_of[$package]}" >/dev/null || missing+=("$package")
  done
  # pynetdicom installs a storescu too; dcmdump is dcmtk's alone.
  command -v dcmdump >/dev/null || [[ " ${missing[*]} " == *" dcmtk "* ]] || missing+=(dcmtk)
  compgen -G '/usr/lib/orthanc/libOrthancDicomWeb.so*' >/dev/null || compgen -G '/usr/share/orthanc/plugins/libOrthancDicomWeb.so*' >/dev/null \
    || missing+=(orthanc-dicomweb)
  # Rscript alone does not have the package survival.
  compgen -G '/usr/lib/R/*library/survival/DESCRIPTION' >/dev/null || missing+=(r-cran-survival)
  # Debian keeps PostgreSQL's programs out of PATH.
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
  # npm is large, and only needed to fetch OHIF.
  [[ -e $peers/ohif/$ohif/index.html ]] || command -v npm >/dev/null || missing+=(npm)
  echo "${missing[*]}"
}

# The packages of Orthanc and PostgreSQL would start a server now and at every boot. The tests start their own; the machine
# keeps none.
as_root=()
policy=/usr/sbin/policy-rc.d
denied=0
deny_services() {
  [[ ! -e $policy ]] || return 0
  denied=1
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
}
allow_services() {
  [[ $denied -eq 0 ]] || "${as_root[@]}" rm -f "$policy"
  denied=0
}
trap allow_services EXIT

install_packages() {
  local quiet=(env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes --option Dpkg::Use-Pty=0)
  if ! command -v apt-get >/dev/null; then
    echo "peers: no apt-get here; their tests will be skipped: $*"
    return
  fi
  if [[ $(id -u) -ne 0 ]]; then
    if ! sudo -n true 2>/dev/null; then
      echo "peers: to run their tests: sudo apt-get install $*"
      return
    fi
    as_root=(sudo -n)
  fi
  echo "peers: installing $*"
  deny_services
  "${as_root[@]}" "${quiet[@]}" update || echo "peers: the package lists could not be renewed"
  "${as_root[@]}" "${quiet[@]}" install --no-install-recommends "$@" >/dev/null || echo "peers: not all of these could be installed: $*"
  local server
  for server in orthanc postgresql; do
    if [[ " $* " == *" $server "* ]] && [[ -d /run/systemd/system ]]; then
      "${as_root[@]}" systemctl disable --quiet "$server" || true
    fi
  done
  allow_services
}

# The built viewer is the folder dist of the package. It appears whole or not at all.
install_ohif() {
  [[ -e $peers/ohif/$ohif/index.html ]] && return
  if ! command -v npm >/dev/null; then
    echo "peers: no npm here; the tests with OHIF will be skipped"
    return
  fi
  echo "peers: fetching @ohif/app $ohif"
  local work sum
  mkdir -p "$peers/ohif"
  work=$(mktemp -d "$peers/ohif/.XXXXXX")
  if ! (cd "$work" && timeout 600 npm pack --silent "@ohif/app@$ohif" >/dev/null); then
    echo "peers: @ohif/app $ohif could not be fetched; the tests with OHIF will be skipped"
  else
    sum=$(sha512sum "$work"/*.tgz | cut -d ' ' -f 1)
    if [[ $sum != $(printf %s "$ohif_integrity" | base64 --decode | od -An -v -tx1 | tr -d ' \n') ]]; then
      echo "peers: @ohif/app $ohif is not the package that is expected here; the tests with OHIF will be skipped"
    else
      tar -xzf "$work"/*.tgz -C "$work" package/dist
      rm -rf "${peers:?}/ohif/$ohif"
      mv "$work/package/dist" "$peers/ohif/$ohif"
    fi
  fi
  rm -rf "$work"
}

read -r -a missing <<<"$(absent_packages)"
[[ ${#missing[@]} -eq 0 ]] || install_packages "${missing[@]}"
install_ohif
