use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn sample() -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("apple", "red").delete(b"\x00\xff").put("k", "");
    batch
}

fn owned(op: Op<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
    match op {
        Op::Put { key, value } => (key.to_vec(), Some(value.to_vec())),
        Op::Delete { key } => (key.to_vec(), None),
    }
}

/// The bytes are written out by hand from the format's description.
#[test]
fn a_batch_has_these_bytes() {
    let golden = [
        "01 03000000",      // version 1, three operations
        "01 05 6170706c65", // put, key of 5 bytes: apple
        "03 726564",        // value of 3 bytes: red
        "00 02 00ff",       // delete, key of 2 bytes
        "01 01 6b 00",      // put, key k, empty value
    ]
    .concat()
    .replace(' ', "");
    assert_eq!(hex::encode(sample().as_bytes()), golden);
    let batch = sample();
    let ops: Vec<Op<'_>> = Decoder::new(batch.as_bytes()).unwrap().map(|op| op.unwrap()).collect();
    assert_eq!(ops[0], Op::Put { key: b"apple", value: b"red" });
    assert_eq!(ops[1], Op::Delete { key: b"\x00\xff" });
    assert_eq!(ops[2], Op::Put { key: b"k", value: b"" });
    assert_eq!(ops.len(), 3);
}

/// No proper prefix of a batch is a batch, and neither is a batch with a byte behind it.
#[test]
fn every_cut_of_a_batch_is_refused() {
    let batch = sample();
    let bytes = batch.as_bytes();
    for cut in 0..bytes.len() {
        assert!(validate(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let longer = [bytes, &[0]].concat();
    assert!(validate(&longer).unwrap_err().contains("behind its last operation"));
}

/// Each wrong batch is refused for its own reason, so no check hides behind another; after the
/// reason the decoder ends.
#[test]
fn every_wrong_batch_is_refused_for_its_own_reason() {
    let cases: [(&str, &str); 10] = [
        ("02 00000000", "version 2"),
        ("01 0000", "ends inside its header"),
        ("01 01000000", "with 1 operations to come"),
        ("01 01000000 02 01 61", "unsupported kind 2"),
        ("01 01000000 03 01 61 00", "unsupported kind 3"),
        ("01 01000000 00 00", "key is empty"),
        ("01 01000000 00 808004", "inside a key"),
        ("01 01000000 01 01 61 8180808001", "inside a value"),
        ("01 01000000 00 8100 61", "inside a key"),
        ("01 ffffffff 00 01 61", "with 4294967294 operations to come"),
    ];
    for (bytes, reason) in cases {
        let bytes = hex::decode(bytes.replace(' ', "")).unwrap();
        let error = validate(&bytes).unwrap_err();
        assert!(error.contains(reason), "{error}");
        if let Ok(mut decoder) = Decoder::new(&bytes) {
            assert!(decoder.by_ref().any(|op| op.is_err()));
            assert!(decoder.next().is_none());
        }
    }
}

/// A broken limit is remembered, the operation is left out, and clearing forgets both.
#[test]
fn a_batch_beyond_the_limits_is_refused_as_a_whole() {
    let too_long = vec![0; KEY_SIZE_MAX + 1];
    let mut batch = WriteBatch::new();
    batch.put("a", "1").put(&too_long, "2").delete("").put("b", "3");
    assert_eq!(batch.check(), Err("key has 65536 bytes, limit is 65535".to_owned()));
    assert_eq!(batch.len(), 2);
    assert_eq!(validate(batch.as_bytes()), Ok(2));
    batch.clear();
    assert_eq!(batch, WriteBatch::new());
    batch.put(&too_long[1..], "longest key");
    assert_eq!(batch.check(), Ok(()));
    assert_eq!(batch.ops().next().map(|op| op.key().len()), Some(KEY_SIZE_MAX));
    batch.delete([]);
    assert_eq!(batch.check(), Err("key is empty".to_owned()));
}

/// Values of 256 MiB are within the limits, one more byte is not, and two do not fit a batch.
#[test]
fn values_and_batches_have_a_largest_size() {
    let value = vec![0; VALUE_SIZE_MAX + 1];
    let mut batch = WriteBatch::new();
    batch.put("a", &value);
    assert_eq!(batch.check(), Err("value has 268435457 bytes, limit is 268435456".to_owned()));
    batch.clear();
    batch.put("a", &value[1..]);
    assert_eq!(batch.check(), Ok(()));
    batch.put("b", &value[1..]);
    assert!(batch.check().unwrap_err().contains("limit of 536870912 bytes"));
    assert_eq!(batch.len(), 1);
}

proptest! {
    /// Whatever is put in comes out in the same order, and equal batches have equal bytes.
    #[test]
    fn batches_round_trip(
        ops in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 1..200),
             prop::option::of(prop::collection::vec(any::<u8>(), 0..300))),
            0..20,
        )
    ) {
        let mut batch = WriteBatch::new();
        for (key, value) in &ops {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        prop_assert_eq!(batch.ops().map(owned).collect::<Vec<_>>(), ops.clone());
        let again = WriteBatch::from_bytes(batch.as_bytes()).unwrap();
        prop_assert_eq!(&again, &batch);
        prop_assert_eq!(again.len(), ops.len());
        prop_assert_eq!(again.is_empty(), ops.is_empty());
    }

    /// Arbitrary bytes behind a right header never panic, and what is accepted is the one encoding
    /// of its operations.
    #[test]
    fn hostile_bytes_are_refused_or_canonical(
        count in 0u32..4, body in prop::collection::vec(0u8..4, 0..24)
    ) {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&body);
        if let Ok(batch) = WriteBatch::from_bytes(&bytes) {
            let mut again = WriteBatch::new();
            for op in batch.ops() {
                match op {
                    Op::Put { key, value } => again.put(key, value),
                    Op::Delete { key } => again.delete(key),
                };
            }
            prop_assert_eq!(again.as_bytes(), &bytes[..]);
            let keys: BTreeSet<_> = batch.ops().map(|op| op.key().len()).collect();
            prop_assert!(!keys.contains(&0));
        }
    }
}
