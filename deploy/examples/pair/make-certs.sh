#!/usr/bin/env bash
# Makes certs/: a root, and for each of the two service accounts a certificate whose only name is
# its SPIFFE id. For trying things out: the root's key lies beside the rest, and all of it ends
# after 30 days. Run it again at any time: running sidecars take the new files within seconds.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p certs

trust_domain=cluster.local
days=30
# Made aside and moved into place, so that a sidecar never reads half a file.
new=$(mktemp -d certs/.new.XXXXXX)
trap 'rm -rf "$new"' EXIT

# Arguments to openssl whose messages are of interest only when it fails.
quietly() {
  openssl "$@" 2>"$new/messages" || { cat "$new/messages" >&2; return 1; }
}

new_key() {
  quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

cat >"$new/root.conf" <<END
[req]
distinguished_name = name
x509_extensions = root
prompt = no
[name]
O = Outrigger example
[root]
subjectAltName = URI:spiffe://$trust_domain
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
new_key "$new/root.key"
quietly req -x509 -new -key "$new/root.key" -config "$new/root.conf" -days "$days" \
  -out "$new/root.pem"

for account in client server; do
  cat >"$new/$account.ext" <<END
subjectAltName = critical, URI:spiffe://$trust_domain/ns/default/sa/$account
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
END
  new_key "$new/$account.key"
  quietly req -new -key "$new/$account.key" -config "$new/root.conf" -subj / \
    -out "$new/$account.csr"
  quietly x509 -req -in "$new/$account.csr" -CA "$new/root.pem" -CAkey "$new/root.key" \
    -set_serial "0x$(openssl rand -hex 16)" -days "$days" -extfile "$new/$account.ext" \
    -out "$new/$account.pem"
done

mv "$new"/*.pem "$new"/*.key certs/
echo "certs/: a root, client and server, good for $days days"
