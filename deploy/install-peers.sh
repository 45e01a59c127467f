#!/usr/bin/env bash
# Installs the programs that the tests talk to, from Debian's packages, where they are absent and this user may install them.
# Never fails: a test whose peer is absent is skipped and named, or fails with DUET_REQUIRE_PEERS=1.
set -euo pipefail

declare -A program_of=([dcmtk]=storescu [dicom3tools]=dciodvfy [orthanc]=Orthanc)
PATH=$PATH:/usr/sbin
missing=()
for package in "${!program_of[@]}"; do
  command -v "${program_of[$package]}" >/dev/null || missing+=("$package")
done
# pynetdicom installs a storescu too; dcmdump is dcmtk's alone.
command -v dcmdump >/dev/null || [[ " ${missing[*]} " == *" dcmtk "* ]] || missing+=(dcmtk)
compgen -G '/usr/lib/orthanc/libOrthancDicomWeb.so*' >/dev/null || compgen -G '/usr/share/orthanc/plugins/libOrthancDicomWeb.so*' >/dev/null \
  || missing+=(orthanc-dicomweb)
[[ ${#missing[@]} -eq 0 ]] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "peers: no apt-get here; their tests will be skipped: ${missing[*]}"
  exit 0
fi
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! sudo -n true 2>/dev/null; then
    echo "peers: to run their tests: sudo apt-get install ${missing[*]}"
    exit 0
  fi
  as_root=(sudo -n)
fi

# Orthanc's package would start a server now and at every boot. The tests start their own; the machine keeps none.
policy=/usr/sbin/policy-rc.d
denied=0
allow_services() { [[ $denied -eq 0 ]] || "${as_root[@]}" rm -f "$policy"; }
trap allow_services EXIT
if [[ ! -e $policy ]]; then
  denied=1
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

echo "peers: installing ${missing[*]}"
quiet=(env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes --option Dpkg::Use-Pty=0)
"${as_root[@]}" "${quiet[@]}" update || echo "peers: the package lists could not be renewed"
"${as_root[@]}" "${quiet[@]}" install --no-install-recommends "${missing[@]}" >/dev/null || echo "peers: not all of these could be installed: ${missing[*]}"
if [[ " ${missing[*]} " == *" orthanc "* ]] && [[ -d /run/systemd/system ]]; then
  "${as_root[@]}" systemctl disable --quiet orthanc || true
fi
