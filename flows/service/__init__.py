"""One slide after the other under the ledger: taken, converted, settled; and what people ask of it."""
