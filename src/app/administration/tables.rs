//! `etcdynamo table create|verify|delete`.
//!
//! Not here: what a table must be like, and which is not etcdynamo's
//! ([`crate::store::dynamodb`]). Invariant: verifying changes nothing; a table is deleted only
//! where its keys and what is in it are etcdynamo's.

use super::{Bill, Failed, begin_log, store_config};
use crate::config::{Consent, TableCommand, TablePlace};
use crate::console;
use crate::store::dynamodb::{TableMade, TableReport, WholeTable};

/// How many items are looked at before a table is deleted, to see whose it is.
const SAMPLE: i32 = 100;

/// Does what is asked of a table, and says how it went.
pub async fn table(command: &TableCommand) -> Result<String, Failed> {
    begin_log()?;
    match command {
        TableCommand::Create(place) => create(place).await,
        TableCommand::Verify(place) => verify(place).await,
        TableCommand::Delete(place, consent) => delete(place, *consent).await,
    }
}

/// The table, not looked at yet.
pub(super) async fn connect(place: &TablePlace, bill: &Bill) -> Result<WholeTable, Failed> {
    let config = store_config(place, "");
    WholeTable::connect(&config, bill.meter()).await.map_err(Failed::because)
}

async fn create(place: &TablePlace) -> Result<String, Failed> {
    let table = connect(place, &Bill::default()).await?;
    let made = table.create().await.map_err(Failed::because)?;
    let name = &place.table;
    Ok(match made {
        TableMade::Made => format!("the table {name:?} was made"),
        TableMade::SwitchedOn => {
            format!("the table {name:?} was there; what it lacked was switched on")
        }
        TableMade::WasThere => format!("the table {name:?} was there as it must be"),
    })
}

async fn verify(place: &TablePlace) -> Result<String, Failed> {
    let table = connect(place, &Bill::default()).await?;
    let report = table.report().await.map_err(Failed::because)?;
    let name = &place.table;
    let told = tell(name, &report);
    if report.differences.is_empty() {
        return Ok(format!("{told}the table {name:?} can be used"));
    }
    console::answer(told.trim_end());
    let mut differences = format!("the table {name:?} cannot be used:");
    for difference in &report.differences {
        differences.push_str(&format!("\n  {difference}"));
    }
    Err(Failed(differences))
}

fn tell(name: &str, report: &TableReport) -> String {
    let TableReport { status, billing, recovery, items, bytes, .. } = report;
    let ttl = match &report.ttl_attribute {
        Some(attribute) => format!("on, by the attribute {attribute:?}"),
        None => "off".to_owned(),
    };
    let stream = report.stream.as_deref().unwrap_or("off");
    let protection = if report.deletion_protection { "on" } else { "off" };
    format!(
        "table: {name}\n\
         status: {status}\n\
         billing: {billing}\n\
         TTL: {ttl}\n\
         stream: {stream}\n\
         deletion protection: {protection}\n\
         point-in-time recovery: {recovery}\n\
         items: {items}, {bytes} bytes, as DynamoDB counted them last\n"
    )
}

async fn delete(place: &TablePlace, consent: Consent) -> Result<String, Failed> {
    let bill = Bill::default();
    let table = connect(place, &bill).await?;
    let report = table.report().await.map_err(Failed::because)?;
    let name = &place.table;
    if consent == Consent::Lacking {
        let TableReport { items, bytes, .. } = report;
        return Err(Failed(format!(
            "this would delete the table {name:?} with all its keyspaces: {items} items of {bytes} \
             bytes, as DynamoDB counted them last. Nothing was done. Say --confirm {name} to do it"
        )));
    }
    table.see_whose().await.map_err(Failed::because)?;
    // One that is being made has nothing in it, and one that is being deleted cannot be read.
    if report.is_readable {
        refuse_foreign_items(&table, name).await?;
    }
    console::remark(format_args!("deleting the table {name:?}"));
    table.delete().await.map_err(Failed::because)?;
    Ok(format!("the table {name:?} was deleted"))
}

/// Others have tables with the same keys.
async fn refuse_foreign_items(table: &WholeTable, name: &str) -> Result<(), Failed> {
    let sample = table.survey(None, Some(SAMPLE)).await.map_err(Failed::because)?;
    let foreign = sample.found.iter().filter(|item| item.keyspace.is_none()).count();
    if foreign == 0 {
        return Ok(());
    }
    let looked_at = sample.found.len();
    Err(Failed(format!(
        "the table {name:?} is left alone: {foreign} of the first {looked_at} items in it are not \
         etcdynamo's"
    )))
}
