//! Dead letters to SQS.
