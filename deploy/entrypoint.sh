#!/bin/sh
# Turns NAME_FROM_FILE=/run/secrets/x into NAME=<contents of x>, then becomes the program: secrets stay out of the
# container's definition and of `docker inspect`.
set -eu
for name in $(env | sed -n 's/^\([A-Z][A-Z0-9_]*\)_FROM_FILE=.*/\1/p'); do
    eval "file=\$${name}_FROM_FILE"
    [ -r "$file" ] || { echo "entrypoint: $name: cannot read $file" >&2; exit 78; }
    value=$(cat "$file")
    export "$name=$value"
    unset "${name}_FROM_FILE"
done
exec "$@"
