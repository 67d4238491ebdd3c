from telemetry_app.cli import main

if __name__ == "__main__":
    main(prog_name="telemetry")
