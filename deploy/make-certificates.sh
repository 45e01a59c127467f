#!/usr/bin/env bash
# A small authority and one certificate signed by it, for a trial or a closed network: ca.pem, NAME.pem, NAME.key in a folder.
# The last of the host names names the files. What is there already stays; a hospital's own authority is better.
#   make-certificates.sh FOLDER HOST...
set -euo pipefail
[[ $# -ge 2 ]] || { echo "make-certificates.sh FOLDER HOST..." >&2; exit 2; }
folder=$1
shift
hosts=("$@")
name=${hosts[-1]}
mkdir -p "$folder"
umask 077

if [[ ! -e $folder/ca.pem ]]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=duet authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
fi
if [[ ! -e $folder/$name.pem ]]; then
  names=$(printf 'DNS:%s,' "${hosts[@]}")
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
    -keyout "$folder/$name.key" -out "$folder/$name.csr" 2>/dev/null
  openssl x509 -req -in "$folder/$name.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 825 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=critical,digitalSignature\n' "${names%,}") \
    -out "$folder/$name.pem" 2>/dev/null
  rm "$folder/$name.csr"
fi
chmod 644 "$folder/ca.pem" "$folder/$name.pem"
