//! The examples that each help begins with. A test parses every one.

pub(super) const BEACH: &str = "\
Examples:
  beach --db shop put apple 120
  beach --db shop get apple
  beach --db shop scan --prefix a
  beach --db shop dump > shop.ndjson
  beach tour";

pub(super) const PUT: &str = "\
Examples:
  beach --db shop put apple 120
  beach --db shop put delta -5
  beach --db shop put photo --value-file beach.jpg
  printf 'any bytes' | beach --db shop put blob -
  beach --db shop --enc hex put 00ff 6869";

pub(super) const GET: &str = "\
Examples:
  beach --db shop get apple
  beach --db shop get apple pear plum
  beach --db shop get --raw photo > beach.jpg
  beach --db shop --json get apple";

pub(super) const DEL: &str = "\
Examples:
  beach --db shop del apple
  beach --db shop --enc hex del 00ff";

pub(super) const SCAN: &str = "\
Examples:
  beach --db shop scan
  beach --db shop scan --from a --to b --limit 10
  beach --db shop scan --prefix order: --reverse
  beach --db shop scan --count
  beach --db shop scan --keys-only -0 | xargs -0 -n 1 beach --db shop get";

pub(super) const APPLY: &str = "\
Examples:
  beach --db shop apply operations.ndjson
  printf '{\"op\":\"put\",\"key\":\"a\",\"value\":\"1\"}' | beach --db shop apply
  beach --db shop apply --batch 100 --ack operations.ndjson
  beach --db shop apply --batch 0 transactions.ndjson  # batches end at {\"op\":\"commit\"}

Operations, one a line:
  {\"op\":\"put\",\"key\":\"a\",\"value\":\"1\"}
  {\"op\":\"put\",\"key_b64\":\"AP8=\",\"value_b64\":\"\"}
  {\"op\":\"del\",\"key\":\"a\"}
  {\"op\":\"commit\"}";

pub(super) const LOAD: &str = "\
Examples:
  beach --db copy load shop.ndjson
  beach --db shop dump | beach --db copy load -
  beach --db copy load --format csv prices.csv
  beach --db copy load --lenient scraped.tsv
  beach --db shop dump | beach --db copy load --sorted -";

pub(super) const DUMP: &str = "\
Examples:
  beach --db shop dump > shop.ndjson
  beach --db shop dump --format csv > shop.csv
  beach --db shop dump | beach --db copy load -";

pub(super) const FLUSH: &str = "\
Examples:
  beach --db shop flush";

pub(super) const CHECKPOINT: &str = "\
Examples:
  beach --db shop checkpoint shop-yesterday
  beach --db shop-yesterday scan --prefix order:";
pub(super) const COMPACT: &str = "\
Examples:
  beach --db shop compact
  beach --db shop compact --from order:2025 --to order:2026
  beach --db shop compact --json";

pub(super) const LSM: &str = "\
Examples:
  beach --db shop lsm
  beach --db shop lsm --from order:2025 --to order:2026
  beach --db shop lsm --json";

pub(super) const STATS: &str = "\
Examples:
  beach --db shop stats
  beach --db shop stats --json";

pub(super) const BENCH: &str = "\
Examples:
  beach bench A B C
  beach bench fillrandom flush waitcompact readrandom readmissing seekrandom
  beach --db scratch bench fillrandom,overwrite --num 40000000 --trace overwrite.csv
  beach bench readrandom --threads 4 --duration 10 --cache 256MiB
  beach bench A B C --json > before.ndjson
  beach bench A B C --compare before.ndjson";

pub(super) const CHECK: &str = "\
Examples:
  beach --db shop check
  beach --db shop check --coverage
  beach --db shop check --json | grep '\"t\":\"finding\"'";

pub(super) const FIND: &str = "\
Examples:
  beach --db shop find apple
  beach --db shop find --prefix order:
  beach --db shop --enc hex find 00ff
  beach --db shop find apple --json";

pub(super) const EXPLAIN: &str = "\
Examples:
  beach --db shop explain get apple
  beach explain BW002
  beach explain";

pub(super) const EXPLAIN_GET: &str = "\
Examples:
  beach --db shop explain get apple
  beach --db shop explain get apple --json";

pub(super) const DU: &str = "\
Examples:
  beach --db shop du
  beach --db shop du --by-prefix 6
  beach --db shop du --by-prefix 6 | sort -n
  beach --db shop du --json";

pub(super) const DIFF: &str = "\
Examples:
  beach diff shop-yesterday shop
  beach diff shop-yesterday shop --from order:2025 --to order:2026
  beach diff shop/000007.sst shop/000009.sst
  beach diff shop-yesterday shop --json
  beach diff shop-yesterday shop --as-ops | beach --db shop-yesterday apply -

Lines:
  + key<TAB>value            only the second has it
  - key<TAB>value            only the first has it
  ~ key<TAB>old -> new       its value is another";

pub(super) const REPAIR: &str = "\
Examples:
  beach --db shop repair
  beach --db shop repair -o shop-repaired";

pub(super) const TOUR: &str = "\
Examples:
  beach tour
  beach tour --dir here";

pub(super) const COMPLETIONS: &str = "\
Examples:
  beach completions bash > /etc/bash_completion.d/beach
  beach completions fish > ~/.config/fish/completions/beach.fish";

pub(super) const MAN: &str = "\
Examples:
  beach man | man -l -
  beach man put > beach-put.1";
